/* Written from src/einchip/registers.py by `make docs`: do not edit.
 *
 * All registers are 32 bits wide at multiples of 4; a counter is 64 bits, low word
 * first. Reading or writing an address that is not here answers SLVERR. Registers of
 * kind "rw" take writes only while the machine is idle (a write while it runs is
 * ignored). Those of kind "ro" ignore writes; ones written to a register of kind "w1"
 * act once, and it reads 0.
 */
#ifndef EINCHIP_REGISTERS_H
#define EINCHIP_REGISTERS_H

/* What ID and VERSION read; the bytes of the address space */
#define EINCHIP_ID_VALUE 0x65494e43u
#define EINCHIP_VERSION_VALUE 0x00010000u
#define EINCHIP_MAP_BYTES 0x200u

/* ID, ro: the letters eINC */
#define EINCHIP_ID_OFFSET 0x000u

/* VERSION, ro: major and minor */
#define EINCHIP_VERSION_OFFSET 0x004u
/* MINOR: minor version */
#define EINCHIP_VERSION_MINOR_MASK 0x0000ffffu
#define EINCHIP_VERSION_MINOR_SHIFT 0
/* MAJOR: major version */
#define EINCHIP_VERSION_MAJOR_MASK 0xffff0000u
#define EINCHIP_VERSION_MAJOR_SHIFT 16

/* CONFIG_HASH, ro: Architecture.config_hash of the machine */
#define EINCHIP_CONFIG_HASH_OFFSET 0x008u

/* CONTROL, w1: commands of the host */
#define EINCHIP_CONTROL_OFFSET 0x00cu
/* START: start the program in program memory; ignored while the machine runs */
#define EINCHIP_CONTROL_START_MASK 0x00000001u
#define EINCHIP_CONTROL_START_SHIFT 0
/* FETCH: with START: first fetch the program; ignored while the machine runs */
#define EINCHIP_CONTROL_FETCH_MASK 0x00000002u
#define EINCHIP_CONTROL_FETCH_SHIFT 1
/* IRQ_CLEAR: lower the interrupt */
#define EINCHIP_CONTROL_IRQ_CLEAR_MASK 0x00000004u
#define EINCHIP_CONTROL_IRQ_CLEAR_SHIFT 2

/* STATUS, ro: state of the machine */
#define EINCHIP_STATUS_OFFSET 0x010u
/* RUNNING: from a start to the stop */
#define EINCHIP_STATUS_RUNNING_MASK 0x00000001u
#define EINCHIP_STATUS_RUNNING_SHIFT 0
/* DONE: stopped, by HALT or by an error; cleared by a start */
#define EINCHIP_STATUS_DONE_MASK 0x00000002u
#define EINCHIP_STATUS_DONE_SHIFT 1
/* ERROR: stops or stopped by an error; cleared by a start */
#define EINCHIP_STATUS_ERROR_MASK 0x00000004u
#define EINCHIP_STATUS_ERROR_SHIFT 2

/* IRQ_ENABLE, rw: enables of the interrupt */
#define EINCHIP_IRQ_ENABLE_OFFSET 0x014u
#define EINCHIP_IRQ_ENABLE_RESET 0x00000000u
/* ENABLE: raise irq when the machine stops */
#define EINCHIP_IRQ_ENABLE_ENABLE_MASK 0x00000001u
#define EINCHIP_IRQ_ENABLE_ENABLE_SHIFT 0

/* ERROR_CODE, ro: the first error; cleared by a start */
#define EINCHIP_ERROR_CODE_OFFSET 0x018u
/* CODE: number of the error */
#define EINCHIP_ERROR_CODE_CODE_MASK 0x0000000fu
#define EINCHIP_ERROR_CODE_CODE_SHIFT 0

/* ERROR_ADDRESS, ro: where the error was, as its code says; cleared by a start */
#define EINCHIP_ERROR_ADDRESS_OFFSET 0x01cu

/* PROGRAM_ADDRESS, rw: external byte address of the program, a multiple of 16 */
#define EINCHIP_PROGRAM_ADDRESS_OFFSET 0x020u
#define EINCHIP_PROGRAM_ADDRESS_RESET 0x00000000u

/* PROGRAM_WORDS, rw: 128-bit words of the program */
#define EINCHIP_PROGRAM_WORDS_OFFSET 0x024u
#define EINCHIP_PROGRAM_WORDS_RESET 0x00000000u

/* WATCHDOG, rw: cycles without progress before TIMEOUT */
#define EINCHIP_WATCHDOG_OFFSET 0x028u
#define EINCHIP_WATCHDOG_RESET 0x00010000u

/* BASE0, rw: external byte address that transfers add */
#define EINCHIP_BASE0_OFFSET 0x02cu
#define EINCHIP_BASE0_RESET 0x00000000u

/* BASE1, rw: external byte address that transfers add */
#define EINCHIP_BASE1_OFFSET 0x030u
#define EINCHIP_BASE1_RESET 0x00000000u

/* BASE2, rw: external byte address that transfers add */
#define EINCHIP_BASE2_OFFSET 0x034u
#define EINCHIP_BASE2_RESET 0x00000000u

/* BASE3, rw: external byte address that transfers add */
#define EINCHIP_BASE3_OFFSET 0x038u
#define EINCHIP_BASE3_RESET 0x00000000u

/* ARG0, rw: loop count for LOOP */
#define EINCHIP_ARG0_OFFSET 0x03cu
#define EINCHIP_ARG0_RESET 0x00000000u

/* ARG1, rw: loop count for LOOP */
#define EINCHIP_ARG1_OFFSET 0x040u
#define EINCHIP_ARG1_RESET 0x00000000u

/* ARG2, rw: loop count for LOOP */
#define EINCHIP_ARG2_OFFSET 0x044u
#define EINCHIP_ARG2_RESET 0x00000000u

/* ARG3, rw: loop count for LOOP */
#define EINCHIP_ARG3_OFFSET 0x048u
#define EINCHIP_ARG3_RESET 0x00000000u

/* Values of ERROR_CODE: meaning and, behind the colon, what ERROR_ADDRESS holds */
/* no error */
#define EINCHIP_ERROR_CODE_NONE 0u
/* illegal opcode: word index of the instruction */
#define EINCHIP_ERROR_CODE_OPCODE 1u
/* a field out of its range: word index of the instruction */
#define EINCHIP_ERROR_CODE_FIELD 2u
/* a scratchpad address out of range: space << 31 | address */
#define EINCHIP_ERROR_CODE_ADDRESS 3u
/* the program ran past its end: word index */
#define EINCHIP_ERROR_CODE_NO_HALT 4u
/* ENDLOOP without LOOP, or nested too deep: word index */
#define EINCHIP_ERROR_CODE_LOOP 5u
/* a read answered an error: low 32 bits of the burst's address */
#define EINCHIP_ERROR_CODE_AXI_READ 6u
/* a write answered an error: low 32 bits of the burst's address */
#define EINCHIP_ERROR_CODE_AXI_WRITE 7u
/* a token counter overflowed: token number */
#define EINCHIP_ERROR_CODE_TOKEN 8u
/* nothing moved for WATCHDOG cycles: word index of the sequencer */
#define EINCHIP_ERROR_CODE_TIMEOUT 9u
/* a transfer's address that is not a multiple of a beat: word index */
#define EINCHIP_ERROR_CODE_ALIGNMENT 10u

/* Counters, ro: 64 bits, low word first */
/* cycles from start to stop */
#define EINCHIP_CYCLES_LO_OFFSET 0x080u
#define EINCHIP_CYCLES_HI_OFFSET 0x084u
/* instructions decoded */
#define EINCHIP_INSTRUCTIONS_LO_OFFSET 0x088u
#define EINCHIP_INSTRUCTIONS_HI_OFFSET 0x08cu
/* useful multiply-adds */
#define EINCHIP_MACS_LO_OFFSET 0x090u
#define EINCHIP_MACS_HI_OFFSET 0x094u
/* elements read from X */
#define EINCHIP_X_READS_LO_OFFSET 0x098u
#define EINCHIP_X_READS_HI_OFFSET 0x09cu
/* elements written to X */
#define EINCHIP_X_WRITES_LO_OFFSET 0x0a0u
#define EINCHIP_X_WRITES_HI_OFFSET 0x0a4u
/* elements read from Y */
#define EINCHIP_Y_READS_LO_OFFSET 0x0a8u
#define EINCHIP_Y_READS_HI_OFFSET 0x0acu
/* elements written to Y */
#define EINCHIP_Y_WRITES_LO_OFFSET 0x0b0u
#define EINCHIP_Y_WRITES_HI_OFFSET 0x0b4u
/* accumulators drained (results written by the array) */
#define EINCHIP_DRAINED_LO_OFFSET 0x0b8u
#define EINCHIP_DRAINED_HI_OFFSET 0x0bcu
/* activations evaluated, on the drain path and in the vector unit */
#define EINCHIP_ACTIVATIONS_LO_OFFSET 0x0c0u
#define EINCHIP_ACTIVATIONS_HI_OFFSET 0x0c4u
/* elements that the vector unit produced (of cells, copied or filled) */
#define EINCHIP_VECTOR_OPS_LO_OFFSET 0x0c8u
#define EINCHIP_VECTOR_OPS_HI_OFFSET 0x0ccu
/* beats read from memory, program included */
#define EINCHIP_DMA_READ_BEATS_LO_OFFSET 0x0d0u
#define EINCHIP_DMA_READ_BEATS_HI_OFFSET 0x0d4u
/* beats written to memory */
#define EINCHIP_DMA_WRITE_BEATS_LO_OFFSET 0x0d8u
#define EINCHIP_DMA_WRITE_BEATS_HI_OFFSET 0x0dcu
/* array: a slot was issued: an iteration, or reads of held operands */
#define EINCHIP_ARRAY_ISSUE_LO_OFFSET 0x0e0u
#define EINCHIP_ARRAY_ISSUE_HI_OFFSET 0x0e4u
/* array: an addend or the vector unit had a read port */
#define EINCHIP_ARRAY_STALL_PORT_LO_OFFSET 0x0e8u
#define EINCHIP_ARRAY_STALL_PORT_HI_OFFSET 0x0ecu
/* array: both accumulator sets were still in use */
#define EINCHIP_ARRAY_STALL_DRAIN_LO_OFFSET 0x0f0u
#define EINCHIP_ARRAY_STALL_DRAIN_HI_OFFSET 0x0f4u
/* array: the next instruction waited for a token */
#define EINCHIP_ARRAY_STALL_TOKEN_LO_OFFSET 0x0f8u
#define EINCHIP_ARRAY_STALL_TOKEN_HI_OFFSET 0x0fcu
/* array: the next instruction's lanes were not ready */
#define EINCHIP_ARRAY_STALL_SETUP_LO_OFFSET 0x100u
#define EINCHIP_ARRAY_STALL_SETUP_HI_OFFSET 0x104u
/* array: no instruction */
#define EINCHIP_ARRAY_IDLE_LO_OFFSET 0x108u
#define EINCHIP_ARRAY_IDLE_HI_OFFSET 0x10cu
/* vector: a read or a fill was issued */
#define EINCHIP_VECTOR_ISSUE_LO_OFFSET 0x110u
#define EINCHIP_VECTOR_ISSUE_HI_OFFSET 0x114u
/* vector: the drain path had the read port */
#define EINCHIP_VECTOR_STALL_PORT_LO_OFFSET 0x118u
#define EINCHIP_VECTOR_STALL_PORT_HI_OFFSET 0x11cu
/* vector: too many writes pending, or only writes left */
#define EINCHIP_VECTOR_STALL_WRITE_LO_OFFSET 0x120u
#define EINCHIP_VECTOR_STALL_WRITE_HI_OFFSET 0x124u
/* vector: the next instruction waited for a token */
#define EINCHIP_VECTOR_STALL_TOKEN_LO_OFFSET 0x128u
#define EINCHIP_VECTOR_STALL_TOKEN_HI_OFFSET 0x12cu
/* vector: the next instruction's lanes were not ready */
#define EINCHIP_VECTOR_STALL_SETUP_LO_OFFSET 0x130u
#define EINCHIP_VECTOR_STALL_SETUP_HI_OFFSET 0x134u
/* vector: no instruction */
#define EINCHIP_VECTOR_IDLE_LO_OFFSET 0x138u
#define EINCHIP_VECTOR_IDLE_HI_OFFSET 0x13cu
/* load: a beat was written to a scratchpad or program memory */
#define EINCHIP_LOAD_TRANSFER_LO_OFFSET 0x140u
#define EINCHIP_LOAD_TRANSFER_HI_OFFSET 0x144u
/* load: a beat was there, the scratchpad's write port was not */
#define EINCHIP_LOAD_STALL_PORT_LO_OFFSET 0x148u
#define EINCHIP_LOAD_STALL_PORT_HI_OFFSET 0x14cu
/* load: waiting for the memory */
#define EINCHIP_LOAD_STALL_MEMORY_LO_OFFSET 0x150u
#define EINCHIP_LOAD_STALL_MEMORY_HI_OFFSET 0x154u
/* load: the next instruction waited for a token */
#define EINCHIP_LOAD_STALL_TOKEN_LO_OFFSET 0x158u
#define EINCHIP_LOAD_STALL_TOKEN_HI_OFFSET 0x15cu
/* load: no instruction */
#define EINCHIP_LOAD_IDLE_LO_OFFSET 0x160u
#define EINCHIP_LOAD_IDLE_HI_OFFSET 0x164u
/* store: a beat was read from a scratchpad */
#define EINCHIP_STORE_TRANSFER_LO_OFFSET 0x168u
#define EINCHIP_STORE_TRANSFER_HI_OFFSET 0x16cu
/* store: a beat was wanted, the scratchpad's read port was taken */
#define EINCHIP_STORE_STALL_PORT_LO_OFFSET 0x170u
#define EINCHIP_STORE_STALL_PORT_HI_OFFSET 0x174u
/* store: waiting for the memory */
#define EINCHIP_STORE_STALL_MEMORY_LO_OFFSET 0x178u
#define EINCHIP_STORE_STALL_MEMORY_HI_OFFSET 0x17cu
/* store: the next instruction waited for a token */
#define EINCHIP_STORE_STALL_TOKEN_LO_OFFSET 0x180u
#define EINCHIP_STORE_STALL_TOKEN_HI_OFFSET 0x184u
/* store: no instruction */
#define EINCHIP_STORE_IDLE_LO_OFFSET 0x188u
#define EINCHIP_STORE_IDLE_HI_OFFSET 0x18cu
/* sequencer: the unit's slot was taken, or SYNC waited */
#define EINCHIP_SEQUENCER_STALL_LO_OFFSET 0x190u
#define EINCHIP_SEQUENCER_STALL_HI_OFFSET 0x194u

#endif
