"""Who evaluates: processes of this computer that may die, a Dask cluster that loses a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from einchip.explore.cache import Cache
from einchip.explore.engine import Engine, Processes
from einchip.explore.errors import ExploreError
from einchip.explore.evaluate import Outcome, evaluate
from einchip.explore.explorer import Explorer
from einchip.explore.objectives import chosen
from einchip.explore.point import Context, Point
from einchip.explore.search import search_of
from tests.cli.helpers import ROOT
from tests.explore.helpers import Counted, Deadly, Watched, context, domain, point, subject

SECONDS = 60


def arrays(model: str) -> list[Point]:
    return [point(model, rows=r, cols=4) for r in (2, 4)]


def collected(engine: Engine, points: list[Point]) -> dict[Point, Outcome]:
    """Return what an engine yields; each point once."""
    with engine:
        found = list(engine.run(points))
    assert Counter(p for p, _ in found) == Counter(points)
    return dict(found)


def deadly(folder: Path, times: int) -> tuple[Context, list[Point], list[Point]]:
    """Return models of which one ends its process, the points of the others, and its own."""
    good, bad = subject("mpo"), subject("mps")
    models = Deadly({s.digest: s for s in (good, bad)})
    models.deadly, models.times, models.marks = bad.digest, times, folder
    return context(subjects=models), arrays(good.digest), [point(bad.digest)]


def test_a_process_that_dies_once_loses_nothing(tmp_path: Path) -> None:
    """The oracle is the evaluation in this process, with models that do no harm."""
    shared, good, bad = deadly(tmp_path, 1)
    found = collected(Processes(shared, 2), [good[0], *bad, *good[1:]])
    harmless = context(*map(subject, ("mpo", "mps")))
    assert found == {p: evaluate(harmless, p) for p in [*good, *bad]}
    assert {o.status for o in found.values()} == {"ok"}
    assert len(list(tmp_path.iterdir())) == 1


def test_a_point_that_always_ends_its_process_is_given_up_alone(tmp_path: Path) -> None:
    """The oracle is the count of processes: one in company, two alone; the others have figures."""
    shared, good, bad = deadly(tmp_path, 99)
    found = collected(Processes(shared, 2), [*bad, *good])
    assert found[bad[0]] == Outcome("failed", {}, "the process that evaluated it died")
    assert {found[p].status for p in good} == {"ok"}
    assert len(list(tmp_path.iterdir())) == 3


def test_another_einchip_is_refused() -> None:
    """The oracle is the message."""
    with pytest.raises(ExploreError, match="install the same einchip there"):
        evaluate(context(code="0.0.0-other"), point())


class Cluster:
    """A scheduler and workers without nannies, each a process."""

    def __init__(self, folder: Path, n_workers: int) -> None:
        self.file = folder / "scheduler.json"
        self.processes = [self._start("scheduler", "--host", "127.0.0.1", "--port", "0",
                                      "--no-show", "--no-dashboard")]  # fmt: skip
        self.workers = [
            self._start("worker", "--nthreads", "1", "--no-nanny", "--no-dashboard",
                        "--host", "127.0.0.1", "--death-timeout", f"{SECONDS}")
            for _ in range(n_workers)
        ]  # fmt: skip
        self.processes += self.workers

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments]
        return subprocess.Popen(
            [*command, "--scheduler-file", str(self.file)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    @property
    def address(self) -> str:
        import json

        end = time.monotonic() + SECONDS
        while not self.file.exists() and time.monotonic() < end:
            time.sleep(0.05)
        return str(json.loads(self.file.read_text())["address"])

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    pytest.importorskip("distributed")
    found = Cluster(tmp_path, 2)
    yield found
    found.close()


def explored(folder: Path, shared: Context, engine: Engine, kill: Cluster | None) -> Explorer:
    """Explore 3 arrays x 2 models; after the second result a worker is killed that is at work."""
    models = {digest: s.name for digest, s in shared.subjects.items()}
    space = {
        "base": "nano",
        "parameters": {"rows": [2, 4], "cols": [2, 4]},
        "constraints": ["rows <= cols"],
    }
    found = domain(*models, **space)
    goals = chosen("cycles,area", False, 0)
    run = Explorer(shared, goals, search_of(found, 2), engine, Cache(folder), 100)

    def progress() -> None:
        if kill is not None and len(run.outcomes) == 2:
            kill_one_at_work(kill, shared)

    with engine:
        run.run(progress)
    return run


def kill_one_at_work(cluster: Cluster, shared: Context) -> None:
    """Kill a worker that has begun a point and not ended it, by the models' log."""
    assert isinstance(shared.subjects, Watched)
    ours = {worker.pid for worker in cluster.workers}
    for _ in range(200):
        lines = [line.split() for line in shared.subjects.log.read_text().splitlines()]
        last = {int(pid): what for what, pid in lines}
        at_work = [pid for pid, what in last.items() if what == "begin" and pid in ours]
        if at_work:
            os.kill(at_work[0], signal.SIGKILL)
            return
        time.sleep(0.02)
    raise AssertionError("no worker is at work")


def test_a_dask_worker_that_is_killed_loses_nothing_and_doubles_nothing(
    tmp_path: Path, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oracle is the run in this process; the log has the point begun twice."""
    from einchip.explore import dask_engine

    monkeypatch.setattr(dask_engine, "TIMEOUT_SECONDS", SECONDS)
    subjects = [subject(kind) for kind in ("mpo", "mps")]
    models = Watched({s.digest: s for s in subjects})
    models.log, models.seconds = tmp_path / "log", 0.4
    slow = context(subjects=models)
    found = explored(
        tmp_path / "dask", slow, dask_engine.DaskCluster(slow, cluster.address), cluster
    )
    assert sorted(w.poll() is None for w in cluster.workers) == [False, True]
    counts = Counter(line.split()[0] for line in models.log.read_text().splitlines())
    assert counts["begin"] == counts["end"] + 1 == 7
    assert found.n_evaluated == len(found.done) == len(set(found.points)) == 6
    plain = context(*subjects)
    local = explored(tmp_path / "local", plain, Counted(partial(evaluate, plain)), None)
    assert found.done == local.done
    assert {o.status for _, o in found.done} == {"ok"}


def test_where_no_scheduler_is_the_message_is_one_line() -> None:
    """The oracle is a port on which nobody listens."""
    pytest.importorskip("distributed")
    from einchip.explore import dask_engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dask_engine, "TIMEOUT_SECONDS", 1)
        for address in ("tcp://127.0.0.1:9", "nowhere"):
            with pytest.raises(ExploreError, match=r"--scheduler: .*: cannot reach it: ") as caught:
                dask_engine.DaskCluster(context(), address)
            assert "\n" not in str(caught.value)
