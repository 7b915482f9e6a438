"""What the drain path does to one accumulator after its addend."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from einchip.arch import ACTIVATION_LATENCY, Architecture
from einchip.hw.activation import Activation
from einchip.hw.pipeline import delay
from einchip.hw.requantise import Requantise
from einchip.numeric import WIDE_BITS
from einchip.program import Act


class Finish(wiring.Component):
    """One column of the drain path behind the addend: requantise, activation, requantise.

    `result` = reference.finish(value), 2 * REQUANTISE_LATENCY + ACTIVATION_LATENCY cycles later,
    one a cycle, no back pressure. `shift` stands with the value, `function` REQUANTISE_LATENCY
    cycles after it, `act` and `act_shift` ACTIVATION_LATENCY cycles after that. Without a sigmoid
    or tanh the first requantiser's 16 bits bypass it, and the second one only saturates; RELU makes
    them 0 on the way where they are negative.
    """

    value: Signal
    shift: Signal
    function: Signal
    act: Signal
    act_shift: Signal
    result: Signal

    def __init__(self, arch: Architecture) -> None:
        super().__init__(
            {
                "value": In(signed(arch.acc_bits)),
                "shift": In(6),
                "function": In(2),
                "act": In(2),
                "act_shift": In(4),
                "result": Out(signed(arch.data_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.wide = wide = Requantise(len(self.value), WIDE_BITS, 6)
        m.submodules.activation = activation = Activation()
        m.submodules.narrow = narrow = Requantise(WIDE_BITS, len(self.result), 4)
        bypass = delay(m, wide.result, ACTIVATION_LATENCY, "bypass")
        curved = (self.act == Act.SIGMOID) | (self.act == Act.TANH)
        straight = Mux((self.act == Act.RELU) & (bypass < 0), 0, bypass)
        m.d.comb += [
            wide.value.eq(self.value),
            wide.shift.eq(self.shift),
            activation.value.eq(wide.result),
            activation.function.eq(self.function),
            narrow.value.eq(Mux(curved, activation.result, straight)),
            narrow.shift.eq(Mux(curved, self.act_shift, 0)),
            self.result.eq(narrow.result),
        ]
        return m
