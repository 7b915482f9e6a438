"""The register map: every address is one 32-bit register, every counter two."""

from einchip import registers
from einchip.registers import ADDRESS, ADDRESS_BITS, COUNTERS, REGISTERS


def test_addresses_are_distinct_words_inside_the_map() -> None:
    addresses = [r.address for r in REGISTERS]
    assert len(set(addresses)) == len(addresses) == len(ADDRESS)
    assert all(a % 4 == 0 and 0 <= a < 2**ADDRESS_BITS for a in addresses)


def test_every_counter_has_a_low_and_then_a_high_word() -> None:
    for counter in COUNTERS:
        name = counter.name.upper()
        assert ADDRESS[f"{name}_HI"] == ADDRESS[f"{name}_LO"] + 4
        assert ADDRESS[f"{name}_LO"] % 8 == 0


def test_counters_are_distinct_and_read_only() -> None:
    assert len({c.name for c in COUNTERS}) == len(COUNTERS)
    kinds = {r.access for r in REGISTERS if r.name.endswith(("_LO", "_HI"))}
    assert kinds == {"ro"}
    assert {r.access for r in REGISTERS} <= {"ro", "rw", "w1", "w1c"}


def test_identity_spells_the_name() -> None:
    assert registers.ID_VALUE.to_bytes(4, "big") == b"eINC"
    assert ADDRESS["ID"] == 0
