"""The table of what gates caught in the sets of a report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxdiff.data.samples import FILE
from jaxdiff.sampleset import SampleSet


def counted(spec: str) -> dict[str, Any]:
    """What gates caught in a set, JSON-ready under `gates`; empty for a set without gates, and for other images."""
    if not (Path(spec) / FILE).is_file():
        return {}
    counts = SampleSet.open(spec).gate_counts
    return {} if counts is None else {"gates": asdict(counts)}


def tables(named: Sequence[tuple[str, Mapping[str, Any]]]) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of the table; none without gates.

    Arguments:
        named: the name of each set, and its results, with those of `counted`.
    """
    rows = [
        [
            name,
            *(
                "-" if gates[key] is None else str(gates[key])
                for key in ("images", "prompt_gate", "gate", "redraws", "passed", "refused")
            ),
        ]
        for name, gates in ((name, each["gates"]) for name, each in named if "gates" in each)
    ]
    if rows:
        title = "images caught by gates; refused ones are counted nowhere else"
        yield title, ["set", "asked", "prompt gate", "image gate", "redraws", "passed", "refused"], rows
