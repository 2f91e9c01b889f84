"""Every reader reads damaged files right or refuses them, in bounded time and memory; the harness finds those that do not."""

import dataclasses
import io
import json
import struct
import time
import warnings

import numpy as np
import pytest

from jaxdiff.errors import InputError
from tests.fuzzing import property
from tests.fuzzing.property import Tally, Target, TooLong, attempt, fuzz
from tests.fuzzing.registry import TARGETS


def tried(name):
    """How many damaged files of a kind are tried here; `make fuzz` tries as many as there is time for."""
    return TARGETS[name].examples // 4


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_read_or_refused(name):
    tally, examples = Tally(), tried(name)
    fuzz(TARGETS[name], tally, examples=examples)
    # damage that no reader notices, or that leaves nothing to read, would try little
    assert tally.refused > examples / 20


def _written(folder):
    (folder / "a.json").write_text('{"a": [1, 2]}')
    return folder / "a.json"


def _untyped_tau(path):
    """A search whose τ may be anything."""
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged") from error
    return found["tau"] + 0


def _missing_member(path):
    """Arrays of which one may be missing."""
    try:
        with np.load(io.BytesIO(path.read_bytes())) as opened:
            arrays = {name: opened[name] for name in opened}
    except Exception as error:
        raise InputError(f"{path} is damaged") from error
    return arrays["images"]


def _unbounded_size(path):
    """A picture that may be larger than memory."""
    header = path.read_bytes()[:24]
    if len(header) < 24 or header[12:16] != b"IHDR":
        raise InputError(f"{path} is damaged")
    try:
        return np.empty(struct.unpack(">II", header[16:]), np.uint8)
    except (MemoryError, ValueError) as error:
        raise InputError(f"{path} is too large") from error


@pytest.mark.parametrize(
    ("name", "read", "fault"),
    [
        ("search", _untyped_tau, (TypeError, KeyError)),
        ("npz", _missing_member, KeyError),
        ("image, PNG", _unbounded_size, AssertionError),
    ],
)
def test_as_many_inputs_as_are_tried_find_a_missing_check(name, read, fault):
    """Each of these readers checks all but one thing."""
    with pytest.raises(fault):
        fuzz(dataclasses.replace(TARGETS[name], read=read), Tally(), examples=tried(name))


def test_an_exception_of_a_library_is_found():
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
