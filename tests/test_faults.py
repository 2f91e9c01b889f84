"""Faults of a file system under every program that writes: it ends with one clear line, and the same command then goes on.

Nothing has to be deleted by hand, nothing half-written is left, and in the end there is what an undisturbed run writes.
"""

import os
import shutil
import sys
import time

import numpy as np
import pytest

from evaluate.__main__ import main as evaluate
from jaxdiff import writing
from jaxdiff._console import output
from sample.__main__ import main as sample
from tests import small_training
from tests.evaluate import prompted
from tests.faults import (
    CLASSIFIERS,
    MODEL,
    Disk,
    assert_second_is_refused,
    assert_unwritable_is_said_first,
    contents,
    limited,
    rests,
    write_inputs,
)
from tests.interop import test_clip
from train.__main__ import main as train

TRAINING = ["--data", "embedded", "--steps", "4", "--save-minutes", "0", "--preview-every", "0"]
PROGRAMS = {
    "draw": (sample, ["sample", "draw", *MODEL, "--count", "6", "--batch-size", "2"], "out"),
    "search": (sample, ["sample", "search", *MODEL, "--metric", "pixel", "--batch", "4"], "out/tau.json"),
    "export": (train, ["train", "export", "--model", "stemless"], "out"),
    "import": (train, ["train", "import", "exported"], "out"),
    "inspect": (train, ["train", "inspect", "data.npz"], "out/shown.png"),
    "train": (small_training.main, ["train", *TRAINING], "out"),
    "likelihood": (
        evaluate,
        ["evaluate", "likelihood", "--model", "run", "--data", "data.npz", "--split", "all", "--count", "4", "--steps", "2"],
        "out/likelihood.json",
    ),
    "memorization": (evaluate, ["evaluate", "memorization", "--train", "data.npz", "--samples", "set.npz"], "out"),
    "fairness": (
        evaluate,
        ["evaluate", "fairness", "--real", "data.npz", "--synthetic", "set.npz", "--attribute", "group", *CLASSIFIERS],
        "out",
    ),
    "self-check": (
        evaluate,
        ["evaluate", "fairness", "--self-check", "--real", "data.npz", "--attribute", "group", *CLASSIFIERS],
        "out",
    ),
    "prompts": (evaluate, ["evaluate", "prompts", "--synthetic", "prompted", "--clip", "clip"], "out"),
    "report": (evaluate, ["evaluate", "report", "--fairness", "evaluated"], "out"),
}
BITWISE = {"draw", "search", "export", "import", "inspect"}
"""The programs whose output holds neither times nor the command."""
WORKING = pytest.mark.parametrize("program", [name for name in PROGRAMS if name != "self-check"], indirect=True)
"""The programs that are run to their end; a self-check takes long, and writes as fairness does."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, save_model, small_classifiers):
    """What the programs read, in a folder that each test copies."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, save_model, np.random.default_rng(0))
    save_stemless(folder / "stemless")
    test_clip.written(folder / "clip")
    prompted.written(folder / "prompted", prompted.coloured([0, 1] * 3, [0] * 6))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for main, arguments in (
            (train, ["train", "export", "--model", "stemless", "--out", "exported"]),
            (evaluate, [*PROGRAMS["fairness"][1], "--out", "evaluated"]),
        ):
            patch.setattr(sys, "argv", arguments)
            main()
    return folder


@pytest.fixture(params=PROGRAMS)
def program(request, tmp_path, inputs, call_program, capsys):
    """A program: its name, its output, and a function that runs it and returns its exit status and its errors."""
    main, arguments, out = PROGRAMS[request.param]
    shutil.copytree(inputs, tmp_path, dirs_exist_ok=True)

    def run():
        capsys.readouterr()
        status = call_program(main, *arguments, "--out", out)
        return status, capsys.readouterr().err

    return request.param, tmp_path / out, run


def save_stemless(folder):
    """Writes a model that can be exported."""
    from functools import partial

    import jax
    import jax.numpy as jnp

    from jaxdiff import model as models
    from jaxdiff.models.config import UNetConfig
    from jaxdiff.models.network import Network, unet
    from jaxdiff.process import ddpm

    config = UNetConfig(
        size=4, base=32, multipliers=(1,), blocks=1, attention=(), head_channels=32, dropout=0.0, values=(), dtype="float32"
    )
    made = jax.eval_shape(partial(unet, config), jax.random.key(0))
    network = Network(jax.tree.map(lambda leaf: jnp.ones(leaf.shape, jnp.float32), made.weights), made.structure)
    models.save(folder, models.image_model(config, network, ddpm("linear"), "eps", (), {}))


def assert_same(name, found, expected):
    assert found.keys() == expected.keys()
    if name in BITWISE:
        assert found == expected


@WORKING
def test_what_cannot_be_written_ends_a_program_and_the_same_command_goes_on(program, tmp_path, monkeypatch):
    name, out, run = program
    disk = Disk()
    monkeypatch.setattr(writing, "os", disk)
    assert run()[0] == 0
    expected, count = contents(out), disk.named
    shutil.rmtree(tmp_path / "out")
    with limited(300):
        status, errors = run()
    assert status == 2, errors
    assert "error: " in errors and "File too large" in errors and "Traceback" not in errors
    assert not rests(tmp_path)
    for failing in sorted({0, count // 2, count - 1} if name in BITWISE else {count // 2}):
        disk.named, disk.failing = 0, failing
        status, errors = run()
        assert status == 2, errors
        assert "error: cannot write" in errors and "No space left on device" in errors and "Traceback" not in errors
        assert not rests(tmp_path)
        disk.failing = None
        assert run()[0] == 0
        assert_same(name, contents(out), expected)
        assert not rests(tmp_path)
        shutil.rmtree(tmp_path / "out")


def test_where_nothing_can_be_written_is_said_before_the_work(program, tmp_path, monkeypatch):
    assert_unwritable_is_said_first(program[2], tmp_path / "out", monkeypatch)


def test_a_second_command_is_refused_at_once(program, monkeypatch):
    name, out, run = program
    assert_second_is_refused(run, output.locked_folder(out, bool(out.suffix) or name == "export"), monkeypatch)


@pytest.mark.parametrize("program", sorted(BITWISE), indirect=True)
def test_a_slow_disk_changes_nothing(program, tmp_path, monkeypatch):
    name, out, run = program
    assert run()[0] == 0
    expected = contents(out)
    shutil.rmtree(tmp_path / "out")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda opened: (time.sleep(0.02), sync(opened)))
    assert run()[0] == 0
    assert_same(name, contents(out), expected)
