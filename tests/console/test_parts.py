"""Finished parts in files are found bit for bit or not at all; an output folder is locked against other runs."""

import fcntl
import os
import signal
import subprocess
import sys
from contextlib import ExitStack

import numpy as np
import pytest

from jaxdiff._console import lock as locks
from jaxdiff._console import parts as module
from jaxdiff._console import sealed
from jaxdiff._console.lock import lock
from jaxdiff._console.parts import Parts, kept_parts
from jaxdiff.errors import InputError

ARRAYS = {
    "synthetic->real": np.array([[1.0, np.nextafter(0.1, 1)], [-0.0, np.inf]]),
    "nan": np.array([0x7FF8000000000123, 0xFFF0000000000001], np.uint64).view(np.float64),
    "weights/0/kernel": np.arange(6, dtype=np.float32).reshape(1, 2, 3),
    "json": np.array('{"é": [1, null]}'),
}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """A folder with one part, `a`."""
    Parts(tmp_path / "report.parts")["a"] = ARRAYS
    return tmp_path / "report.parts"


def test_parts_are_found_bit_for_bit(folder):
    again = Parts(folder)
    assert "a" in again and "b" not in again and again.get("b") is None
    assert_same(again.get("a"), ARRAYS)
    assert os.listdir(folder) == ["a.part"]


def test_a_damaged_part_counts_as_absent_and_is_replaced(folder):
    file, parts = folder / "a.part", Parts(folder)
    whole = file.read_bytes()
    places = np.random.default_rng(0).integers(0, len(whole), 40)
    damaged = [bytes([*whole[:place], whole[place] ^ 1, *whole[place + 1 :]]) for place in (0, 63, 64, len(whole) - 1, *places)]
    for content in [b"", whole[:30], whole[:64], whole[:-1], whole + b"\0", *damaged]:
        file.write_bytes(content)
        assert "a" not in parts and parts.get("a") is None
    parts["a"] = ARRAYS
    assert_same(parts.get("a"), ARRAYS)


def test_a_part_is_checked_once(folder, monkeypatch):
    checked, digest = [], sealed.hashlib.sha256
    monkeypatch.setattr(sealed.hashlib, "sha256", lambda content: checked.append(len(content)) or digest(content))
    parts = Parts(folder)
    for _ in range(2):
        assert "a" in parts and "b" not in parts
        assert_same(parts.get("a"), ARRAYS)
    assert len(checked) == 1
    parts["c"] = ARRAYS
    assert "c" in parts and len(checked) == 2
    (folder / "a.part").unlink()
    assert parts.get("a") is None


def test_parts_of_other_versions_count_as_absent(folder, monkeypatch):
    monkeypatch.setattr(module, "version", lambda library: "0.0")
    assert "a" not in Parts(folder)
    monkeypatch.undo()
    assert "a" in Parts(folder)


def test_a_part_that_cannot_be_written_is_an_error(folder):
    (folder / "b.part").mkdir()
    with pytest.raises(InputError, match=r"cannot write .*b\.part: Is a directory"):
        Parts(folder)["b"] = ARRAYS


def test_parts_stay_after_an_error_and_are_removed_at_the_end(tmp_path):
    out = tmp_path / "new" / "report"
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), kept_parts(out, "report") as parts:
            parts["a"] = ARRAYS
            raise ZeroDivisionError
        assert [file.name for file in out.rglob("*")] == ["report.parts", "a.part"]
    with kept_parts(out, "report") as parts:
        assert "a" in parts
        (out / "report.parts" / "b.partial").touch()  # left by a kill
        (out / "report.json").touch()
    assert os.listdir(out) == ["report.json"]


def test_an_error_before_anything_is_finished_leaves_nothing(tmp_path):
    out = tmp_path / "new" / "report"
    with pytest.raises(ZeroDivisionError), kept_parts(out, "report"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


HOLDING = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from jaxdiff._console.lock import lock
held = ExitStack()
lock(Path(sys.argv[1]), "being written", held)
print("held", flush=True)
time.sleep(600)
"""


def test_a_second_run_is_refused_at_once_until_the_first_is_killed(tmp_path):
    out = tmp_path / "report"
    with subprocess.Popen([sys.executable, "-c", HOLDING, str(out)], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout.readline() == "held\n"
            named = rf"--out {out} is being written by another process \({other.pid} on .+\); wait for it or stop it"
            with pytest.raises(InputError, match=named), kept_parts(out, "report"):
                pytest.fail("two runs in one folder")
        finally:
            other.send_signal(signal.SIGKILL)
    assert (out / locks.LOCK).exists()  # the lock is the kernel's: a file that was left holds none
    with kept_parts(out, "report"):
        pass
    assert not (out / locks.LOCK).exists()


def test_a_file_that_an_ending_run_removed_is_no_lock(tmp_path, monkeypatch):
    """Between opening and locking, the run that holds the lock may end and remove the file."""
    flock, calls = fcntl.flock, []

    def removed_before(opened, how):
        calls.append(how)
        if len(calls) == 1:
            (tmp_path / locks.LOCK).unlink()
        flock(opened, how)

    monkeypatch.setattr(fcntl, "flock", removed_before)
    with ExitStack() as first, ExitStack() as second:
        lock(tmp_path, "being written", first)
        with pytest.raises(InputError, match="another process"):
            lock(tmp_path, "being written", second)


def test_an_output_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write --out .*report: Not a directory"), ExitStack() as held:
        lock(tmp_path / "file" / "report", "being written", held)
