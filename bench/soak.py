"""Drawing, searching and evaluating in turn in one process: memory, descriptors, threads and compilations must stay flat."""

import gc
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy

from evaluate.process_memory import trim
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError
from jaxdiff.writing import write_text

SHOWN = 12
"""Rows of the table."""
BLOCKS = 20
"""Means of successive rounds that the slope is fitted to: single rounds are correlated, which would narrow its interval."""
MODEL = Path("checkpoints/embedded")
"""What is drawn from."""
_COMPILED = "/jax/core/compile/backend_compile_duration"


@dataclass(frozen=True)
class Soak:
    """Draws a set, searches tau and evaluates the set, round after round in one process, and measures the process after each
    round: resident memory, open descriptors, threads, and the programs compiled in the round. The exit status is 1 if
    descriptors or threads differ between rounds after the first quarter, if a program is compiled after it, or if memory may
    grow by more than --limit.

    Examples:

      python -m bench soak --seconds 7200

      python -m bench soak --seconds 600 --out out/soak.csv
    """

    seconds: float = 7200.0
    """How long to repeat the rounds; at least eight are run."""
    limit: float = 0.05
    """Maximum growth of memory in MiB a round, at the upper end of its 95 % interval. An image set that a round leaves behind
    takes 0.75 MiB."""
    out: Path | None = None
    """CSV file with the measurements of every round, for example out/soak.csv."""

    def __post_init__(self):
        for name in ("seconds", "limit"):
            if getattr(self, name) <= 0:
                raise InputError(f"--{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class Round:
    """What was measured after a round.

    Attributes:
        seconds: since the start.
        memory: resident memory in MiB, without the pages of files.
        descriptors: open file descriptors.
        threads: of the process.
        compilations: programs compiled in the round.
    """

    seconds: float
    memory: float
    descriptors: int
    threads: int
    compilations: int


COUNTED = ("descriptors", "threads", "compilations")


def one_round(folder: Path, number: int) -> None:
    """Draws 64 images, searches tau and evaluates the set, each with a seed of its own, in an empty folder."""
    from evaluate.fairness import fairness
    from evaluate.options.fairness import Fairness
    from sample.command_line import made
    from sample.draw import draw
    from sample.options import Draw, Search
    from sample.search import search

    sampled = {"solver": "ddim", "steps": 4, "seed": number}
    draw(made(Draw, model=MODEL, method="switching", tau=(0.6,), count=64, batch_size=32, out=folder / "set", **sampled))
    search(made(Search, model=MODEL, metric="pixel", batch=8, out=folder / "tau.json", **sampled))
    fairness(
        Fairness(
            "group", folder / "report", (str(folder / "set"),), size="32", seeds=1, steps=10, test_count=64, train_count=32,
            permutations=19, replicates=100, seed=number,
        )
    )  # fmt: skip


def rounds(work: Callable[[Path, int], None], seconds: float, least: int) -> Iterator[Round]:
    """Measures this process after each round of work, which gets an empty folder and the number of the round."""
    with _counted() as compiled:
        number, begun, before = 0, time.monotonic(), 0
        while number < least or time.monotonic() < begun + seconds:
            with tempfile.TemporaryDirectory() as folder:
                console.quiet = True
                try:
                    work(Path(folder), number)
                finally:
                    console.quiet = False
            # neither reference cycles nor freed memory that the process keeps are leaks
            gc.collect()
            trim()
            yield Round(round(time.monotonic() - begun, 1), _memory(), *map(_entries, ("fd", "task")), compiled[0] - before)
            number, before = number + 1, compiled[0]


def soak(options: Soak) -> None:
    """Runs the rounds, and prints the table and the verdict."""
    import jax

    done: list[Round] = []
    for each in rounds(one_round, options.seconds, 8):
        done.append(each)
        if options.out:
            lines = [",".join(asdict(done[0])), *(",".join(map(str, asdict(one).values())) for one in done)]
            write_text(options.out, "\n".join(lines) + "\n")
    _show(done, f"{len(done)} rounds, {jax.devices()[0].device_kind}, {os.cpu_count()} cores, jax {jax.__version__}")
    faults = verdict(done, options.limit)
    low, high = growth([each.memory for each in _settled(done)])
    console.print(f"memory grows by {low:.4f} to {high:.4f} MiB a round (95 % interval)", highlight=False)
    console.print("\n".join(faults) or "flat: memory, descriptors, threads and compilations", highlight=False)
    if faults:
        raise SystemExit(1)


def verdict(done: Sequence[Round], limit: float) -> list[str]:
    """What is not flat after the first quarter of the rounds; `limit` in MiB a round."""
    settled = _settled(done)
    faults = []
    for name in COUNTED:
        found = sorted({getattr(each, name) for each in settled})
        if found != [0] if name == "compilations" else len(found) > 1:
            faults.append(f"{name} of a round: {', '.join(map(str, found))}")
    _, high = growth([each.memory for each in settled])
    if not high <= limit:
        faults.append(f"memory may grow by {high:.3g} MiB a round, more than {limit:g}")
    return faults


def growth(values: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the slope of values over their positions, fitted to at most `BLOCKS` means of successive values."""
    places = np.array_split(np.arange(len(values)), min(BLOCKS, len(values)))
    x, y = ([np.mean(np.asarray(each)[block]) for block in places] for each in (np.arange(len(values)), values))
    x, y = np.array(x) - np.mean(x), np.array(y) - np.mean(y)
    slope = x @ y / (x @ x)
    error = np.sqrt(np.square(y - slope * x).sum() / (len(x) - 2) / (x @ x))
    half = scipy.stats.t.ppf(0.975, len(x) - 2) * error
    return float(slope - half), float(slope + half)


def _settled(done: Sequence[Round]) -> Sequence[Round]:
    """The rounds after the first quarter, in which programs are compiled and caches filled."""
    return done[len(done) // 4 :]


def _show(done: Sequence[Round], title: str) -> None:
    from rich import box
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("round", "seconds", "memory MiB", *COUNTED):
        table.add_column(heading, justify="right")
    for place in sorted({0, 1, *np.linspace(2, len(done) - 1, SHOWN - 2).astype(int).tolist()}):
        each = done[place]
        counted = (str(getattr(each, name)) for name in COUNTED)
        table.add_row(str(place + 1), f"{each.seconds:.0f}", f"{each.memory:.1f}", *counted)
    console.print(table)


def _memory() -> float:
    """Resident memory in MiB without the pages of files, which the system loads and drops as it likes (proc(5))."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem"))) / 1024


def _entries(folder: str) -> int:
    return len(os.listdir(f"/proc/self/{folder}"))


@contextmanager
def _counted() -> Iterator[list[int]]:
    """The number of programs that JAX has compiled since the block began."""
    import jax

    count = [0]

    def listen(event: str, duration: float, **_) -> None:
        count[0] += event == _COMPILED

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield count
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
