"""Whatever a library raises about a file is an `InputError` that names it, and only regular files are read."""

import json
import os
import zipfile

import numpy as np
import pytest

import jaxdiff
from jaxdiff import interop, torch_file
from jaxdiff.boundary import MOST_TEXT, parse_json, read_json, read_text, reading
from jaxdiff.errors import InputError, LostProcess
from jaxdiff.fairness import Transition


@pytest.mark.parametrize(
    "error, message",
    [
        (KeyError("process"), "a.json is damaged: it has no 'process'; write it again"),
        (TypeError("unhashable\nand more"), "a.json is damaged: unhashable; write it again"),
        (RecursionError("maximum"), "a.json is damaged: it is nested too deep; write it again"),
        (OSError(5, "Input/output error"), "a.json cannot be read: Input/output error; write it again"),
        (MemoryError(), "a.json takes more memory than there is; write it again"),
        (zipfile.BadZipFile(), "a.json is damaged: BadZipFile; write it again"),
        (InputError("`blocks` is wrong"), "a.json: `blocks` is wrong; write it again"),
        (InputError("a.json is empty"), "a.json is empty"),
        (ValueError("x" * 9000), "a.json is damaged: " + "x" * 440 + " ... " + "x" * 50 + "; write it again"),
        (InputError("\x1b[31mred\x00"), "a.json: \\x1b[31mred\\x00; write it again"),
    ],
)
def test_every_error_is_one_line_that_names_the_file_and_the_remedy(error, message):
    with pytest.raises(InputError) as raised, reading("a.json", "write it again"):
        raise error
    assert str(raised.value) == message and raised.value.__cause__ in (error, None)


def test_the_kind_of_an_input_error_is_kept_and_interrupts_pass():
    with pytest.raises(LostProcess, match="a.json: gone"), reading("a.json"):
        raise LostProcess("gone")
    with pytest.raises(KeyboardInterrupt), reading("a.json"):
        raise KeyboardInterrupt


def test_json_is_an_object_in_a_regular_file_of_utf8(tmp_path):
    file = tmp_path / "a.json"
    file.write_text('{"é": 1}', encoding="utf-8")
    assert read_json(file) == {"é": 1}
    for content, message in (
        (b"[1]", "must hold a JSON object, got list"),
        (b"{", "is damaged: Expecting"),
        (b"\xff{}", "damaged"),
    ):
        file.write_bytes(content)
        with pytest.raises(InputError, match=f"a.json.*{message}"):
            read_json(file)
    with pytest.raises(InputError, match="a.json is damaged: it is nested too deep"):
        parse_json("[" * 200_000, "a.json")
    with open(file, "wb") as opened:
        opened.truncate(MOST_TEXT + 1)
    with pytest.raises(InputError, match="has 268,435,457 bytes, more than"):
        read_text(file)


def _model(path):
    jaxdiff.load(path.parent)


def _weights(path):
    interop.load(path)


@pytest.mark.parametrize(
    "name, read",
    [
        ("tau.json", read_text),
        ("config.json", read_json),
        ("model.safetensors", _model),
        ("weights.safetensors", _weights),
        ("weights.pt", torch_file.load),
    ],
)
def test_pipes_and_devices_are_refused_unread(name, read, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(InputError, match=f"{name} is no regular file but a pipe or a device"):
        read(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(InputError, match=name):
        read(tmp_path / name)


GOOD = {
    "mode": "direct/pixel", "evaluations": 1, "batch": 1, "tau": 0.5, "timestep": 500, "snr": 1.0, "taus": [0.5],
    "curve": [0.1], "residual": 0.1, "context": {},
}  # fmt: skip


@pytest.mark.parametrize(
    "changed",
    [
        {"tau": "0.5"}, {"tau": [0.5]}, {"tau": []},
        {"tau": True}, {"tau": 10**400}, {"tau": 1.5}, {"tau": float("nan")}, {"tau": None},
        {"context": [1]}, {"context": "x"}, {"context": None}, {"context": {"process": [float("nan")]}},
        {"mode": 3}, {"taus": 0.5}, {"taus": [[0.5]]}, {"taus": []},
        {"curve": ["0.1"]}, {"timestep": 0.5}, {"batch": -1}, {"later": 1},
    ],
)  # fmt: skip
def test_a_search_of_wrong_types_is_refused(changed):
    assert Transition.from_json(json.dumps(GOOD)).tau == 0.5
    with pytest.raises(InputError, match="a Transition of `sample search`"):
        Transition.from_json(json.dumps({**GOOD, **changed}))


def test_whole_numbers_and_undefined_values_of_a_search_are_read():
    found = Transition.from_json(json.dumps({**GOOD, "tau": 1, "snr": None, "curve": [float("nan")], "residual": float("inf")}))
    assert found.tau == 1.0 and isinstance(found.tau, float) and np.isnan(found.curve[0])
