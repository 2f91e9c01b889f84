"""The folder of a run: only the first process locks and writes it; all processes raise its errors."""

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from jaxdiff import parallel
from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.interrupts import keeping
from jaxdiff._console.output import claim
from jaxdiff.boundary import read_text, reading, shown
from jaxdiff.errors import InputError
from jaxdiff.writing import other_files, write_text


class Folder:
    """The locked folder of a run, see `claimed`. Every process calls its methods.

    Arguments:
        path: the folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self._metrics = path / "metrics.jsonl"

    def write(self, what: str, function: Callable[[], Any]) -> None:
        """Writes a file in the first process; `what` is its name in errors.

        Raises:
            InputError: in every process, if the file cannot be written.
        """
        write_once(self.path / what, function)

    def log(self, line: dict[str, Any]) -> None:
        """Appends a line to the metrics."""

        def add():
            with open(self._metrics, "a") as metrics:
                metrics.write(json.dumps(line) + "\n")

        self.write("metrics.jsonl", add)

    def forget_after(self, step: int) -> None:
        """Drops the metrics of steps that the resumed run will repeat."""

        def forget():
            if self._metrics.exists():
                kept = [line for line in read_text(self._metrics).splitlines() if self._step(line) <= step]
                write_text(self._metrics, "".join(line + "\n" for line in kept))

        self.write("metrics.jsonl", forget)

    def _step(self, line: str) -> float:
        """The step of a line of the metrics; infinity for one that was cut when the run was killed."""
        if not line.endswith("}"):
            return math.inf
        with reading(self._metrics, "delete it to lose the curves alone"):
            return float(json.loads(line)["step"])

    def plot(self, title: str) -> None:
        """Plots the loss."""

        def draw():
            with reading(self._metrics):
                rows = [json.loads(line) for line in read_text(self._metrics).splitlines()]
                plots.training(self.path / "loss.png", rows, title)

        self.write("loss.png", draw)


@contextmanager
def claimed(out: Path, config: dict[str, Any]) -> Iterator[Folder]:
    """Creates or opens the folder of a run with this configuration, and locks it. Every process calls it.

    Raises:
        InputError: the folder holds another run or other files, is locked, or is not visible to all processes.
    """
    _require_agreement(config)
    with ExitStack() as held, keeping(f"the last checkpoint, if there is one, is kept in {out}"):
        parallel.run_on_first(lambda: _claim(out, config, held))
        parallel.gather_results(lambda: _seen(out))
        yield Folder(out)


def _require_agreement(config: dict[str, Any]) -> None:
    """Raises `InputError` in every process if they were started with different options or data."""
    first, *others = (_flat(each) for each in parallel.gather_results(lambda: config))
    for number, other in enumerate(others, 1):
        for name, value in first.items():
            if other.get(name) != value:
                raise InputError(f"process 0 was started with {name} {value}, process {number} with {other.get(name)}")


def _claim(out: Path, config: dict[str, Any], held: ExitStack) -> None:
    claim(out, held, activity="being trained")
    path = out / "config.json"
    if path.exists():
        _require_same(out, path, config)
    elif other_files(out, path.name):
        raise InputError(f"--out {out} is not empty and holds no run (no config.json); choose another folder")
    else:
        write_text(path, json.dumps(config, indent=2) + "\n")


def _require_same(out: Path, path: Path, config: dict[str, Any]) -> None:
    with reading(f"--out {out} holds a run whose config.json", "choose another folder"):
        there = _flat(json.loads(read_text(path)))
    config = _flat(config)
    differing = sorted(name for name in config.keys() | there.keys() if config.get(name) != there.get(name))
    if differing:
        name = differing[0]
        raise InputError(
            f"--out {out} holds a run with another {shown(name, 200)}: {shown(str(there.get(name)), 200)} there, "
            f"{shown(str(config.get(name)), 200)} now; choose another"
        )


def _seen(out: Path) -> None:
    if not (out / "config.json").is_file():
        raise InputError(f"--out {out} is not visible here: all machines need a folder on a shared file system")


def _flat(config: dict[str, Any]) -> dict[str, Any]:
    """The settings by name; nested settings as part.name."""
    parts = {name: value if isinstance(value, dict) else {"": value} for name, value in config.items()}
    return {f"{part}.{name}".rstrip("."): value for part, values in parts.items() for name, value in values.items()}
