"""Whether two runs of a program wrote the same files: byte for byte, or but for what differs between any two runs."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

MEASURED = {"seconds", "seconds_per_image", "images_per_second", "peak_memory_gib"}
"""Names in JSON of what is measured of the run itself."""
_IN_TEXT = re.compile(r"\d+(\.\d+)? s on |, \d+(\.\d+)? s\b")
"""Times in Markdown and HTML."""


def differences(found: Path, expected: Path, ignored: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """How the files of a folder differ from those expected.

    Arguments:
        found, expected: the folders.
        ignored: patterns of paths that are not compared.

    Returns:
        The differences, and the files that are equal but for times and memory that they record, or the order of metadata.
    """
    here, there = (set(_files(folder, ignored)) for folder in (found, expected))
    wrong = [f"{name} is left over" for name in sorted(here - there)] + [f"{name} is missing" for name in sorted(there - here)]
    alike = []
    for name in sorted(each for each in here & there if not each.endswith("/")):
        one, other = ((folder / name).read_bytes() for folder in (found, expected))
        if one != other:
            (alike if content(name, one) == content(name, other) else wrong).append(name)
    return wrong, alike


def content(name: str, data: bytes) -> Any:
    """What must be equal in a file: of a text all but what was measured of the run itself; of weights the arrays and metadata,
    which safetensors writes in any order."""
    match Path(name).suffix:
        case ".json":
            return _without(json.loads(data))
        case ".jsonl":
            return [_without(json.loads(line)) for line in data.splitlines()]
        case ".md" | ".html":
            return _IN_TEXT.sub("", data.decode())
        case ".safetensors":
            length = int.from_bytes(data[:8], "little")
            return json.loads(data[8 : 8 + length]), data[8 + length :]
    return data


def _files(folder: Path, ignored: tuple[str, ...]) -> Iterator[str]:
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if not any(fnmatch(name, pattern) for pattern in ignored):
            yield f"{name}/" if file.is_dir() else name


def _without(value: Any) -> Any:
    """A JSON value without what was measured of the run."""
    if isinstance(value, dict):
        return {name: _without(each) for name, each in value.items() if name not in MEASURED}
    return [_without(each) for each in value] if isinstance(value, list) else value
