"""Evaluations for `python -m bench kills`: their commands, reports, and the parts that they write."""

import json
import sys
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxdiff._console.parts import SUFFIX, Parts
from jaxdiff.data import embedded

LOG = "written"
"""The file beside the report, with a line for each part that was written."""
SETS = {"plain": {}, "no beards": {"beard": (0.0, 0.0)}, "half with glasses": {"glasses": (0.5, 0.5)}}
"""The evaluated sets of generated faces, with other associations than the real ones."""
_LOGGED = "import sys; from bench.evaluations import logged; logged(sys.argv.pop(1))"
# several classifiers a set, and few images, so that a run takes a quarter of a minute
_SHORT = ("--real", "embedded", "--size", 32, "--test-count", 300, "--seeds", 3, "--steps", 40)
COMMANDS: dict[str, tuple[tuple[Any, ...], str]] = {
    "fairness": (("fairness", "--attribute", "group", "--associated", "glasses", *_SHORT, "--synthetic"), "report.json"),
    "safety": (("safety", "--unsafe", "glasses=yes", "--train-count", 1000, *_SHORT, "--synthetic"), "safety.json"),
}
"""The arguments of each evaluation, and the name of its report."""


def logged(log: str) -> None:
    """Runs `jaxdiff evaluate` with the remaining arguments, and logs the key of each part once it is written."""
    from evaluate.__main__ import start

    write = Parts.__setitem__

    def logging(parts: Parts, key: str, arrays: Any) -> None:
        write(parts, key, arrays)
        with open(log, "a") as opened:
            opened.write(key + "\n")

    Parts.__setitem__ = logging  # ty: ignore[invalid-assignment]
    sys.argv[:1] = ["evaluate"]
    start()


def evaluating(name: str) -> Callable[[Path], Sequence[Any]]:
    """The command of an evaluation in a folder; writes the sets there first."""
    arguments, _ = COMMANDS[name]

    def command(out: Path) -> Sequence[Any]:
        sets = [out / f"{each}.npz" for each in SETS]
        for number, (file, shares) in enumerate(zip(sets, SETS.values(), strict=True), 1):
            if not file.exists():
                images, labels = embedded.generate(
                    np.arange(300) + number * 10**6, associations=embedded.DEFAULT_ASSOCIATIONS | shares, size=32
                )
                np.savez(file, images=images, labels=labels[:, 0], attributes=["group"], values_group=["square", "round"])
        return ("-c", _LOGGED, out / LOG, *arguments, *sets, "--out", out / "report")

    return command


def evaluated(name: str) -> Callable[[Path], dict[str, np.ndarray]]:
    """The numbers of a report, and how often parts were written."""
    _, file = COMMANDS[name]

    def result(out: Path) -> dict[str, np.ndarray]:
        report = json.loads((out / "report" / file).read_text())
        report = {key: value for key, value in report.items() if key not in ("command", "options", "seconds")}
        keys = (out / LOG).read_text().splitlines()
        counts = {"parts written twice": len(keys) - len(set(keys)), "parts left": sum(1 for _ in out.rglob(f"*{SUFFIX}"))}
        return {place: np.array(value) for place, value in [*_leaves(report), *counts.items()]}

    return result


def finished(name: str) -> Callable[[Path], str]:
    """The message with which a run resumes, from the parts in its folder; empty if it may print another."""

    def message(out: Path) -> str:
        if name != "fairness":
            return ""
        # the classifiers of --associated come after the last test
        parts = [file.name.split("-")[0] for file in (out / "report" / "report.parts").glob(f"*{SUFFIX}")]
        units = parts.count("classifier") + parts.count("predictions")
        return f"resuming: {min(units, 4 * (1 + len(SETS)))} of" if units else ""

    return message


def _leaves(value: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a JSON value by place; of a text the checksum, of null -1."""
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, f"{place}/{key}")
    elif isinstance(value, str):
        yield place, zlib.crc32(value.encode())
    else:
        yield place, -1.0 if value is None else float(value)
