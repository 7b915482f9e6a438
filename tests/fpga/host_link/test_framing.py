"""fpga.host_link.framing against einchip.link."""

import random
from typing import Any

import pytest

from einchip.fpga.host_link.framing import FrameReceiver, FrameSender
from einchip.link import CRC_BYTES, ESCAPE, FLAG, MAX_FRAME, content_of, framed
from tests.fpga.host_link.lines import frames, put, take
from tests.hw.simulator import Bench

#: Contents of all lengths of interest, with bytes that need an escape.
CONTENTS = [
    bytes((1,)),
    bytes((FLAG, ESCAPE)) * 5,
    random.Random(2).randbytes(60),
    random.Random(3).randbytes(MAX_FRAME - CRC_BYTES),
]


def held(wire: bytes, every: int = 1) -> list[bytes]:
    """Return the frames that a receiver keeps, each taken as soon as it is there."""
    dut, found = FrameReceiver(), list[bytes]()

    async def reader(ctx: Any) -> None:
        while True:
            if ctx.get(dut.held):
                content = []
                for place in range(ctx.get(dut.length)):
                    ctx.set(dut.place, place)
                    await ctx.tick()
                    content.append(ctx.get(dut.byte))
                found.append(bytes(content))
                ctx.set(dut.take, 1)
                await ctx.tick()
                ctx.set(dut.take, 0)
            await ctx.tick()

    async def drive(ctx: Any) -> None:
        await put(ctx, dut.bytes, wire, every)
        for _ in range(2 * MAX_FRAME):
            await ctx.tick()

    Bench(dut).run(drive, reader)
    return found


@pytest.mark.parametrize("content", CONTENTS, ids=len)
def test_a_frame_is_kept_with_its_content(content: bytes) -> None:
    assert held(framed(content)) == [content]


def test_frames_follow_one_another_and_may_share_a_flag() -> None:
    a, b = CONTENTS[1], CONTENTS[0]
    assert held(framed(a) + framed(b), every=20) == [a, b]
    assert held(framed(a) + framed(b)[1:], every=20) == [a]  # while a is read, b is lost
    assert held(bytes((FLAG,)) + framed(b), every=2) == [b]


@pytest.mark.parametrize("seed", range(4))
def test_after_anything_the_next_frame_is_kept(seed: int) -> None:
    """Garbage, frames with a changed byte, or cut short; then a sound one."""
    rng, good = random.Random(seed), CONTENTS[2]
    wire = b""
    for _ in range(6):
        bad = bytearray(framed(CONTENTS[rng.randrange(1, 3)]))
        place = rng.randrange(1, len(bad) - 1)
        wire += rng.choice(
            [
                rng.randbytes(30).replace(bytes((FLAG,)), b""),
                bytes(bad[:place]),
                bytes(bad[:place]) + bytes((bad[place] ^ 1,)) + bytes(bad[place + 1 :]),
            ]
        )
    assert held(wire + framed(good), every=8)[-1] == good


def test_a_frame_that_is_too_long_or_too_short_is_dropped() -> None:
    long = framed(bytes(MAX_FRAME - CRC_BYTES + 1))
    assert held(long + framed(CONTENTS[0]), every=2) == [CONTENTS[0]]
    assert held(framed(b"") + framed(CONTENTS[0]), every=2) == [CONTENTS[0]]


@pytest.mark.parametrize("gaps", [None, random.Random(4)], ids=["at once", "with gaps"])
def test_contents_are_sent_as_frames(gaps: random.Random | None) -> None:
    dut, found = FrameSender(), list[int]()

    async def sink(ctx: Any) -> None:
        await take(ctx, dut.bytes, found, gaps)

    async def drive(ctx: Any) -> None:
        for content in CONTENTS:
            for k, byte in enumerate(content):
                ctx.set(dut.content.payload, {"byte": byte, "last": k == len(content) - 1})
                ctx.set(dut.content.valid, 1)
                await ctx.tick().until(dut.content.ready)
                ctx.set(dut.content.valid, 0)
                for _ in range(gaps.randrange(3) if gaps else 0):
                    await ctx.tick()
        for _ in range(40):
            await ctx.tick()

    Bench(dut).run(drive, sink)
    assert [content_of(frame) for frame in frames(found)] == CONTENTS
    assert bytes(found) == b"".join(map(framed, CONTENTS))
