"""Faults of a file system, and what the programs that they are injected into read and write."""

import errno
import os
import re
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors
from jax._src import compiler

from jaxdiff import writing
from jaxdiff._console import output

CLASSIFIERS = ["--seeds", "1", "--steps", "2", "--batch", "8", "--permutations", "19", "--replicates", "20"]
"""Options of an evaluation that takes little time."""
MODEL = ["--model", "run", "--attribute", "group", "--solver", "ddim", "--steps", "2"]
"""Options of sampling that take little time."""
Run = Callable[[], tuple[int, str]]
"""Runs a program, and returns its exit status and its errors."""


def write_inputs(folder: Path, save_model: Any, rng: np.random.Generator, size: int = 8) -> None:
    """Writes what the programs read: a model `run`, real images `data.npz`, and synthetic ones `set.npz`."""
    save_model(folder / "run", size=size)
    for name, count in (("data.npz", 240), ("set.npz", 48)):
        labels = np.arange(count) % 2
        images = np.clip(rng.normal(80 + 90 * labels[:, None, None, None], 30, (count, 16, 16, 3)), 0, 255).astype(np.uint8)
        split = np.array(["train", "train", "test", "test"] * (count // 4))
        np.savez(
            folder / name, images=images, labels=labels, split=split, attributes=["group"], values_group=["square", "round"]
        )


def contents(out: Path) -> dict[str, Any]:
    """What a program has written: the names, and the contents as far as they do not hold times."""
    folder = out if out.is_dir() else out.parent
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "timing.json" and "checkpoints" not in file.parts:
            read = {".npz": arrays, ".safetensors": tensors, ".json": untimed, ".md": untimed_report}.get(
                file.suffix, Path.read_bytes
            )
            found[str(file.relative_to(folder))] = read(file)
    return found


def untimed(file: Path) -> list[str]:
    """The lines of a JSON file but those of the seconds that something took."""
    return [line for line in file.read_text().splitlines() if '"seconds":' not in line]


def untimed_report(file: Path) -> str:
    """The text of a report but for the seconds that it took."""
    return re.sub(r", [\d.]+ s on ", ", on ", file.read_text())


def arrays(file: Path) -> dict[str, list]:
    """The arrays of an npz file."""
    with np.load(file) as opened:
        return {name: opened[name].tolist() for name in opened}


def tensors(file: Path) -> tuple[dict[str, str], dict[str, list]]:
    """The metadata and arrays of a safetensors file."""
    with safetensors.safe_open(file, framework="numpy") as opened:
        return opened.metadata(), {name: opened.get_tensor(name).tolist() for name in opened.keys()}  # noqa: SIM118 (not a dict)


class Disk:
    """The file system under `jaxdiff.writing`: counts the files that get their name, and fails at one of them."""

    def __init__(self):
        self.named, self.failing = 0, None

    def __getattr__(self, name):
        return getattr(os, name)

    def replace(self, *paths):
        if self.named == self.failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.named += 1
        os.replace(*paths)


def rests(folder: Path) -> list[str]:
    """What no program may leave in a folder."""
    return [file.name for file in folder.rglob("*") if file.name.endswith(writing.PARTIAL) or file.name == writing.LOCK]


@contextmanager
def limited(size: int) -> Iterator[None]:
    """No file can be larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Nothing is compiled."""
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_or_get_cached", lambda *_, **__: pytest.fail("the work has begun"))
        yield patch


def assert_unwritable_is_said_first(run: Run, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a program whose output folder is a file, and on a full disk: it ends before its work and writes nothing.

    Arguments:
        run: runs it, and returns its exit status and its errors.
        out: the output folder.
        monkeypatch: the fixture.
    """
    with no_work(monkeypatch) as patch:
        out.touch()
        status, errors = run()
        assert status == 2 and "Traceback" not in errors, errors
        assert "is a file" in errors or "Not a directory" in errors
        assert out.is_file()
        out.unlink()
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        status, errors = run()
        assert status == 2 and "0 free" in errors, errors
    assert not out.exists()


def assert_second_is_refused(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs a program whose output another one has locked; `folder` is that with its lock, the rest as above."""
    with output.ExitStack() as held:
        output.lock(folder, "being written", held)
        with no_work(monkeypatch):
            status, errors = run()
        assert status == 2 and f"another process ({os.getpid()} on " in errors, errors


def assert_goes_on_after_every_fault(
    run: Run, folder: Path, named: str, monkeypatch: pytest.MonkeyPatch, *, timed: bool = False, whole: bool = False
) -> None:
    """Runs a program with every fault in turn, and then to its end: it writes what an undisturbed run writes.

    Arguments:
        run: runs it, and returns its exit status and its errors.
        folder: the folder that it runs in.
        named: its output, `out` or a file in it.
        monkeypatch: the fixture.
        timed: whether its output holds times in other places than fields `seconds`: only its names are compared.
        whole: whether its output folder gets its name as a whole.
    """
    out = folder / named
    assert_unwritable_is_said_first(run, folder / "out", monkeypatch)
    assert_second_is_refused(run, output.locked_folder(out, bool(out.suffix) or whole), monkeypatch)
    disk = Disk()
    monkeypatch.setattr(writing, "os", disk)
    status, errors = run()
    assert status == 0, errors
    expected, count = contents(out), disk.named
    assert expected and count
    shutil.rmtree(folder / "out")

    disk.named, disk.failing = 0, count // 2
    status, errors = run()
    assert status == 2, errors
    assert "error: cannot write" in errors and "No space left on device" in errors and "Traceback" not in errors
    disk.failing = None
    with limited(300):
        status, errors = run()
    assert status == 2, errors
    assert "error: " in errors and "File too large" in errors and "Traceback" not in errors
    assert not rests(folder)
    assert run()[0] == 0
    found = contents(out)
    assert found.keys() == expected.keys() and not rests(folder)
    assert timed or found == expected
