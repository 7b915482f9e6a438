"""The page of what is proved.

python -m tests.formal.page > docs/formal.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from tests.formal.prove import COVER_CYCLES, RESULTS

Entry = Mapping[str, Any]

#: The units in words.
TITLES: Final = {
    "load": "Load unit: AR and R of `m_axi`",
    "store": "Store unit: AW, W and B of `m_axi`",
    "axi_lite": "Slave of the registers: `s_axil`",
    "machine": "The whole machine",
}
_HEAD: Final = """\
# Formal proofs of the AXI ports

<!-- Written by `python -m tests.formal.page`. Do not edit. -->

The rules of ARM IHI 0022 (AXI4, AXI4-Lite) for handshakes, bursts and responses are monitors in
Amaranth (`tests/formal/axi.py`) beside the units that drive the ports. All are proved **for all
time and for every input**, by induction with k = {k}: they hold in the reset and the {base} cycles
after it, and after any k cycles in which they hold they hold in the next one. Invariants of the
units' registers (`tests/formal/benches.py`) are proved with them. The RTL is as it is generated;
nothing is put into it.

* Registers and memories begin with anything; one cycle of reset comes first. Resets while the
  machine runs are not looked at.
* Inputs may be anything in every cycle (READY, the scratchpads, `stop`, tokens, instructions), but
  for what stands under *assumed*.
* What load and store unit assume of the machine is proved on the machine, with the array unit, the
  vector unit, the scratchpads and the program memory replaced by parts that do anything. What is
  left to assume is what AXI demands of memory and host.
* Each proof comes with what *can happen* under its assumptions, with the cycle of the shortest way
  there (the reset is cycle 0; it must be within {cover}). So no proof is about nothing.
* Each rule is tried on RTL broken on purpose, one line at a time; the table at the end has the
  cycle of the first failure.

`make test` proves the units of {quick} again, and breaks some; `make formal` does all, of
what is missing or stale, and writes this page. Seconds are of the wall clock. Tools, all from PyPI:
{tools}.

Not proved: that a burst ever ends (a master may wait for a memory for ever; only the answers of
the registers have a bound), and what the data are, which the random programs of
[verification](verification.md) compare.
"""


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield from (f"| {' | '.join(head)} |", f"|{'---|' * len(head)}")
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def unit(name: str, proofs: Sequence[Entry]) -> Iterator[str]:
    """Yield the section of a unit."""
    first = proofs[0]
    on = ", ".join(f"{p['machine']} ({p['seconds']:g} s)" for p in proofs)
    yield from ("", f"## {TITLES[name]}", "")
    yield f"Induction, k = {first['k']}, with {first['invariants']} invariants:"
    yield f"{on}."
    yield ""
    kinds = (("proved", first["rules"]), ("assumed", first["assumes"]))
    rows = [(kind, f"`{n}`", text) for kind, rules in kinds for n, text in rules.items()]
    yield from table(("", "rule", "what"), rows)
    if "beats" in first["assumes"]:
        own = " and ".join(f"`{n}`" for n in ("beats", "words") if n in first["assumes"])
        yield from ("", f"{own}: see the whole machine; the rest is the memory's part.")
    yield ""
    ways = [(text, first["covers"][n]) for n, text in first["can"].items()]
    yield from table((f"can happen (on {first['machine']})", "from cycle"), ways)


def broken(mutants: Sequence[Entry]) -> Iterator[str]:
    """Yield the section of what is broken on purpose."""
    yield from ("", "## Broken on purpose", "")
    rows = []
    for m in mutants:
        beside = ", ".join(f"`{r}`" for r in sorted(set(m["rules"]) - {m["rule"]}))
        also = f", also {beside}" if beside else ""
        old, new = (" ".join(m[key].split()).replace("|", "\\|") for key in ("old", "new"))
        rows.append((f"`{m['file']}`", f"`{old}`", f"`{new}`", f"`{m['rule']}`{also}", m["step"]))
    yield from table(("file", "instead of", "there is", "noticed by", "in cycle"), rows)


def render(results: Mapping[str, Any], quick: Mapping[str, str]) -> str:
    """Return the page of committed results; `quick` are units and machines of `make test`."""
    proofs = results["proofs"]
    named = ", ".join(f"{name} {version}" for name, version in results["tools"].items())
    head = _HEAD.format(
        base=proofs[0]["base_cycles"] - 1,
        k=proofs[0]["k"],
        cover=COVER_CYCLES,
        quick=" and ".join(sorted(set(quick.values()))),
        tools=named,
    )
    lines = head.rstrip().split("\n")
    for name in TITLES:
        lines += unit(name, [p for p in proofs if p["unit"] == name])
    lines += broken(results["mutants"])
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page."""
    from tests.formal.units import QUICK

    sys.stdout.write(render(json.loads(RESULTS.read_text()), QUICK))


if __name__ == "__main__":
    main()
