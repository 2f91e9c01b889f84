"""Tables of quality in fairness reports: against the real images, and against a reference of another program."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .formatting import interval as brackets
from .formatting import number

DIGITS = {"frechet": 2, "kernel": 3, "precision": 3, "recall": 3, "density": 3, "coverage": 3}
"""The measures, in the order of the table, and their decimals."""
HEADER = ["set", "n", "Fréchet", "kernel", *list(DIGITS)[2:]]

Named = Sequence[tuple[str, Mapping[str, Any]]]
"""The further measurements of each set, real images first, by name of the set."""


def tables(named: Named, values: Sequence[str], *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` gives intervals and groups too."""
    first = named[0][1]
    if "quality" in first:
        rows = []
        for name, extra in named:
            groups = zip(values, extra["quality"]["groups"], strict=True) if full else ()
            rows += [_row(name, extra["quality"], full), *(_row(f"{name}, {value}", group, full) for value, group in groups)]
        features = f"; features: {_described(first['quality']['extractor'])}" if full else ""
        yield f"quality against {first['quality']['count'][0]} real images{features}", HEADER, rows
    if "reference" in first:
        about = first["reference"]["about"]
        images = first["reference"]["count"][0]
        held = [*(["mean and covariance"] if about["statistics"] else []), *([f"{images} images"] if images else [])]
        title = f"quality against {about['file']} ({about['checksum']}): {' and '.join(held)}"
        if full:
            title += f"; features: {_described(about['extractor'])}"
        if "absent" in about:
            title += f"; kernel, {', '.join(HEADER[4:-1])} and {HEADER[-1]} are absent: {about['absent']}"
        yield title, HEADER, [_row(name, extra["reference"], full) for name, extra in named]


def features_note(first: Mapping[str, Any]) -> str:
    """Which features and which resize the quality was measured with, in a line; empty without quality."""
    if "quality" not in first:
        return ""
    extractor = first["quality"]["extractor"]
    weights = extractor.get("source", extractor["checksum"])
    return f"Quality: features of {extractor['name']} (weights {weights}); resize: {extractor['resize']}."


def _row(name: str, measured: Mapping[str, Any], full: bool) -> list[str]:
    cells = []
    for key, digits in DIGITS.items():
        if measured[key] is None:
            cells.append("-")
        else:
            ends = f" {brackets(measured['intervals'][key], digits)}" if full else ""
            cells.append(number(measured[key], digits) + ends)
    return [name, str(measured["count"][1]), *cells]


def _described(extractor: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in extractor.items())
