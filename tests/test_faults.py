"""Faults of a file system under every program that writes: it ends with one clear line, and the same command then goes on.

Nothing has to be deleted by hand, nothing half-written is left, and in the end there is what an undisturbed run writes.
"""

import errno
import os
import resource
import shutil
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors
from jax._src import compiler

from evaluate.__main__ import main as evaluate
from jaxdiff import writing
from jaxdiff._console import output
from sample.__main__ import main as sample
from tests import small_training
from train.__main__ import main as train

CLASSIFIERS = ["--seeds", "1", "--steps", "2", "--batch", "8", "--permutations", "19", "--replicates", "20"]
MODEL = ["--model", "run", "--attribute", "group", "--solver", "ddim", "--steps", "2"]
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
    "report": (evaluate, ["evaluate", "report", "--fairness", "evaluated"], "out"),
}
BITWISE = {"draw", "search", "export", "import", "inspect"}
"""The programs whose output holds neither times nor the command."""
WORKING = pytest.mark.parametrize("program", [name for name in PROGRAMS if name != "self-check"], indirect=True)
"""The programs that are run to their end; a self-check takes long, and writes as fairness does."""


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, save_model, small_classifiers):
    """What the programs read, in a folder that each test copies."""
    folder, rng = tmp_path_factory.mktemp("inputs"), np.random.default_rng(0)
    save_model(folder / "run")
    save_stemless(folder / "stemless")
    for name, count in (("data.npz", 240), ("set.npz", 48)):
        labels = np.arange(count) % 2
        images = np.clip(rng.normal(80 + 90 * labels[:, None, None, None], 30, (count, 16, 16, 3)), 0, 255).astype(np.uint8)
        split = np.array(["train", "train", "test", "test"] * (count // 4))
        np.savez(
            folder / name, images=images, labels=labels, split=split, attributes=["group"], values_group=["square", "round"]
        )
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


def contents(out):
    """What a program has written: the names, and the contents as far as they do not hold times."""
    folder = out if out.is_dir() else out.parent
    found = {}
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != "timing.json" and "checkpoints" not in file.parts:
            read = {".npz": arrays, ".safetensors": tensors}.get(file.suffix, Path.read_bytes)
            found[str(file.relative_to(folder))] = read(file)
    return found


def arrays(file):
    with np.load(file) as opened:
        return {name: opened[name].tolist() for name in opened}


def tensors(file):
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


def rests(tmp_path):
    return [file.name for file in tmp_path.rglob("*") if file.name.endswith(writing.PARTIAL) or file.name == writing.LOCK]


def assert_same(name, found, expected):
    assert found.keys() == expected.keys()
    if name in BITWISE:
        assert found == expected


@WORKING
def test_a_file_that_cannot_be_written_ends_a_program_and_the_same_command_goes_on(program, tmp_path, monkeypatch):
    name, out, run = program
    disk = Disk()
    monkeypatch.setattr(writing, "os", disk)
    assert run()[0] == 0
    expected, count = contents(out), disk.named
    shutil.rmtree(tmp_path / "out")
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


@contextmanager
def limited(size):
    """No file can be larger than `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@WORKING
def test_files_that_do_not_fit_end_a_program_and_the_same_command_goes_on(program, tmp_path):
    name, out, run = program
    assert run()[0] == 0
    expected = contents(out)
    shutil.rmtree(tmp_path / "out")
    with limited(300):
        status, errors = run()
    assert status == 2, errors
    assert "error: " in errors and "File too large" in errors and "Traceback" not in errors
    assert not rests(tmp_path)
    assert run()[0] == 0
    assert_same(name, contents(out), expected)


def test_where_nothing_can_be_written_is_said_before_the_work(program, tmp_path, monkeypatch):
    _, out, run = program
    with no_work(monkeypatch) as patch:
        (tmp_path / "out").touch()
        status, errors = run()
        assert status == 2 and "Traceback" not in errors, errors
        assert "is a file" in errors or "Not a directory" in errors
        assert (tmp_path / "out").is_file()
        (tmp_path / "out").unlink()
        patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
        status, errors = run()
        assert status == 2 and "0 free" in errors, errors
    assert not (tmp_path / "out").exists()


@contextmanager
def no_work(monkeypatch):
    """Nothing is compiled."""
    with monkeypatch.context() as patch:
        patch.setattr(compiler, "compile_or_get_cached", lambda *_, **__: pytest.fail("the work has begun"))
        yield patch


def test_a_second_command_is_refused_at_once(program, tmp_path, monkeypatch):
    name, out, run = program
    with output.ExitStack() as held:
        output.lock(output.locked_folder(out, bool(out.suffix) or name == "export"), "being written", held)
        with no_work(monkeypatch):
            status, errors = run()
        assert status == 2 and f"another process ({os.getpid()} on " in errors


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
