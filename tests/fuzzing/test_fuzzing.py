"""Every reader reads damaged files right or refuses them, in bounded time and memory; the harness finds those that do not."""

import time
import warnings

import numpy as np
import pytest

from jaxdiff.errors import InputError
from tests.fuzzing import property
from tests.fuzzing.property import Tally, Target, TooLong, attempt, fuzz
from tests.fuzzing.registry import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name):
    tally = Tally()
    fuzz(TARGETS[name], tally, examples=TARGETS[name].examples)
    # damage that no reader notices, or that leaves nothing to read, would try little
    assert tally.refused > TARGETS[name].examples / 20


def _written(folder):
    (folder / "a.json").write_text('{"a": [1, 2]}')
    return folder / "a.json"


def test_an_exception_of_a_library_is_found():
    import json

    with pytest.raises(json.JSONDecodeError):
        fuzz(Target(_written, lambda path: json.loads(path.read_bytes().decode("latin1"))), Tally(), examples=50)


@pytest.mark.parametrize("fault, found", [
    (lambda path: (_ for _ in ()).throw(InputError("something is wrong")), "does not name a.json"),
    (lambda path: np.zeros(2**27, np.uint8) + 1, "bytes, more than"),
    (lambda path: _out_of_memory(path), "memory ran out"),
])  # fmt: skip
def test_errors_without_a_name_and_unbounded_memory_are_found(fault, found, tmp_path, monkeypatch):
    monkeypatch.setattr(property, "MEMORY", 2**26)
    with pytest.raises(AssertionError, match=found):
        attempt(fault, _written(tmp_path), Tally())


def _out_of_memory(path):
    try:
        np.empty(2**60, np.uint8)
    except MemoryError as error:
        raise InputError(f"{path} is too large") from error


def test_a_warning_is_no_outcome(tmp_path):
    with pytest.raises(RuntimeWarning):
        attempt(lambda path: warnings.warn("half read", RuntimeWarning, stacklevel=1), _written(tmp_path), Tally())


def test_a_hang_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(property, "SECONDS", 0.05)
    with pytest.raises(TooLong):
        attempt(lambda path: time.sleep(5), _written(tmp_path), Tally())
