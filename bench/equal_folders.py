"""Whether two runs of a program wrote the same files: byte for byte, or but for the times that a file records."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

TIMES = {"seconds", "seconds_per_image", "images_per_second"}
"""Names of times in JSON."""
_IN_TEXT = re.compile(r"\d+(\.\d+)? s on |, \d+(\.\d+)? s\b")
"""Times in Markdown and HTML."""


def differences(found: Path, expected: Path, ignored: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """How the files of a folder differ from those expected.

    Arguments:
        found, expected: the folders.
        ignored: patterns of paths that are not compared.

    Returns:
        The differences, and the files that are equal but for times.
    """
    here, there = (set(_files(folder, ignored)) for folder in (found, expected))
    wrong = [f"{name} is left over" for name in sorted(here - there)] + [f"{name} is missing" for name in sorted(there - here)]
    timed = []
    for name in sorted(each for each in here & there if not each.endswith("/")):
        one, other = ((folder / name).read_bytes() for folder in (found, expected))
        if one != other:
            (timed if timeless(name, one) == timeless(name, other) else wrong).append(name)
    return wrong, timed


def timeless(name: str, content: bytes) -> Any:
    """The content of a file without the times in it, if it is a text; else the content."""
    match Path(name).suffix:
        case ".json":
            return _without(json.loads(content))
        case ".jsonl":
            return [_without(json.loads(line)) for line in content.splitlines()]
        case ".md" | ".html":
            return _IN_TEXT.sub("", content.decode())
    return content


def _files(folder: Path, ignored: tuple[str, ...]) -> Iterator[str]:
    for file in folder.rglob("*"):
        name = file.relative_to(folder).as_posix()
        if not any(fnmatch(name, pattern) for pattern in ignored):
            yield f"{name}/" if file.is_dir() else name


def _without(value: Any) -> Any:
    """A JSON value without times."""
    if isinstance(value, dict):
        return {name: _without(each) for name, each in value.items() if name not in TIMES}
    return [_without(each) for each in value] if isinstance(value, list) else value
