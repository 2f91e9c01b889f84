"""`jaxdiff train`: interrupting and resuming changes nothing, a folder holds one run, and damaged input is refused."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

import train.diffusion
import train.loop
from jaxdiff import model as models
from jaxdiff.checkpoint import Checkpoints
from jaxdiff.choices import PHASES
from jaxdiff.data import ArraySource, Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.parallel import make_mesh
from jaxdiff.process import vp_cosine
from jaxdiff.training import Objective, Optimization
from tests.processes import LIMIT
from train.__main__ import main
from train.diffusion import Diffusion
from train.options import Options

STEPS = 6
# as few layers as a UNet can have: nearly all of these tests' time is compiling
NETWORK = UNetConfig(
    size=16, values=(2,), base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
)
TASK = Diffusion(NETWORK, vp_cosine(), Objective(), Optimization(learning_rate=1e-3, warmup=2), STEPS, batch_size=8)


@pytest.fixture(scope="module")
def source() -> ArraySource:
    """40 images, five batches: a run of six steps goes into its second epoch."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 16, 16, 3), np.uint8)
    return ArraySource(images, rng.integers(0, 2, (40, 1), np.int32), [Attribute("group", ("square", "round"))])


def trained(out, source, steps=STEPS, task=TASK, **options) -> int:
    """Trains in-process, with a line of metrics for each step; gives the exit status."""
    given = Options(out, **{"log_every": 1, "preview_every": 0, **options})
    return train.loop.train(given, dataclasses.replace(task, steps=steps), source, make_mesh("", jax.devices()[:1]))


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory) -> Path:
    """A run that was never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert trained(out, source) == 0
    return out


def lines(out):
    """What each step measured."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows]


def assert_same_run(out, whole):
    """The same weights bit for bit, the same losses, and a checkpoint of the last step."""
    jax.tree.map(np.testing.assert_array_equal, models.load(out).network.weights, models.load(whole).network.weights)
    assert models.load(out).fingerprint == models.load(whole).fingerprint
    assert lines(out) == lines(whole)
    assert Checkpoints(out / "checkpoints").latest() == STEPS


def test_a_run_leaves_a_model_metrics_and_a_preview(whole):
    model = models.load(whole)
    assert (model.config, model.prediction, model.training["step"]) == (NETWORK, "v", STEPS)
    assert [step for step, _, _ in lines(whole)] == list(range(1, STEPS + 1))
    assert all(np.isfinite(values).all() for values in lines(whole))
    # of eight times in eight strata one is coarse or none, the others never lack; the loss is the mean of all
    logged = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert all({"loss_clean-up", "loss_content"} <= line.keys() for line in logged)
    assert 0 < sum("loss_coarse" in line for line in logged) < STEPS
    parts = [[line[name] for phase in PHASES if (name := f"loss_{phase}") in line] for line in logged]
    assert all(min(part) <= line["loss"] <= max(part) for part, line in zip(parts, logged, strict=True))
    with Image.open(whole / "loss.png") as picture:
        assert picture.size[0] > 400
    assert [file.name for file in (whole / "previews").iterdir()] == [f"{STEPS:07d}.png"]
    assert not list(whole.rglob("*.partial"))


def test_the_seed_makes_the_run(whole, source, tmp_path):
    assert trained(tmp_path / "again", source, steps=2) == 0
    assert trained(tmp_path / "other", source, steps=2, seed=1) == 0
    assert lines(tmp_path / "again") == lines(whole)[:2]
    assert not {loss for _, loss, _ in lines(tmp_path / "other")} & {loss for _, loss, _ in lines(whole)}


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(whole, source, tmp_path):
    assert trained(tmp_path, source, steps=3) == 0
    assert models.load(tmp_path).training["step"] == 3
    assert trained(tmp_path, source) == 0
    assert_same_run(tmp_path, whole)


def test_a_finished_run_does_nothing_more(whole, source, monkeypatch):
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("*") if file.is_file()}
    monkeypatch.setattr(train.loop, "train_step", lambda *_, **__: pytest.fail("a step was done"))
    assert trained(whole, source) == 0
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("*") if file.is_file()} == before


def after_step(monkeypatch, step, act):
    """Has `act` called on the measurements of a step, right after it."""
    original, count = train.loop.train_step, iter(range(1, 100))

    def counted(*arguments, **keywords):
        state, measured = original(*arguments, **keywords)
        return state, act(measured) if next(count) == step else measured

    monkeypatch.setattr(train.loop, "train_step", counted)


@pytest.mark.parametrize(("number", "status", "log_every"), [(signal.SIGTERM, 143, 1), (signal.SIGINT, 130, 20)])
def test_a_run_that_is_asked_to_stop_saves_and_goes_on(whole, source, tmp_path, monkeypatch, number, status, log_every):
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as patched:
        after_step(patched, 2, lambda measured: os.kill(os.getpid(), number) or measured)
        assert trained(tmp_path, source, log_every=log_every) == status
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    # wished for at the third step, and granted two steps later
    assert Checkpoints(tmp_path / "checkpoints").latest() == models.load(tmp_path).training["step"] == 5
    assert lines(tmp_path)[-1][0] == 5
    if log_every == 1:
        assert trained(tmp_path, source) == 0
        assert_same_run(tmp_path, whole)


def crash(measured):
    raise MemoryError


def test_a_run_that_crashed_before_its_first_checkpoint_starts_again(whole, source, tmp_path, monkeypatch):
    with monkeypatch.context() as patched, pytest.raises(MemoryError):
        after_step(patched, 3, crash)
        trained(tmp_path, source)
    assert [step for step, _, _ in lines(tmp_path)] == [1, 2]
    assert trained(tmp_path, source) == 0
    assert_same_run(tmp_path, whole)


def test_a_half_written_checkpoint_is_ignored(whole, source, tmp_path):
    """Also: one that was written while the next steps ran holds its own step, and a request to save is fulfilled once."""
    assert trained(tmp_path, source, save_minutes=0) == 0
    checkpoints = tmp_path / "checkpoints"
    # wished for at every step: first granted two steps after the first, then at the end
    assert sorted(folder.name for folder in checkpoints.iterdir() if folder.is_dir()) == ["3", "6"]
    # what Orbax writes into until it is complete
    (checkpoints / "6").rename(checkpoints / "6.orbax-checkpoint-tmp")
    shutil.rmtree(checkpoints / "6.orbax-checkpoint-tmp" / "position")
    with (tmp_path / "metrics.jsonl").open("a") as metrics:
        metrics.write('{"step": 7, "lo')
    assert trained(tmp_path, source) == 0
    assert_same_run(tmp_path, whole)


@pytest.mark.parametrize("part", ["position", "state", "state/_METADATA", "state/manifest.ocdbt", "state/d"])
def test_a_damaged_checkpoint_is_named(whole, source, tmp_path, part):
    out = shutil.copytree(whole, tmp_path / "run")
    damaged = out / "checkpoints" / str(STEPS) / part
    shutil.rmtree(damaged) if damaged.is_dir() else damaged.unlink()
    with pytest.raises(InputError, match=f"checkpoint {STEPS} in {out / 'checkpoints'} is damaged"):
        trained(out, source, steps=STEPS + 1)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("loss", {"log_every": 1, "save_minutes": 0}, "the last checkpoint is that of step 3"),
        ("gradient_norm", {"log_every": 5}, "no checkpoint was written yet"),
    ],
)
def test_a_loss_that_is_not_finite_stops_the_run(source, tmp_path, monkeypatch, name, arguments, words):
    handler = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patched, pytest.raises(InputError) as refused:
        after_step(patched, 5, lambda measured: {**measured, name: np.float32("nan")})
        trained(tmp_path, source, **arguments)
    for word in ("step 5", "nan", words, "--learning-rate"):
        assert word in str(refused.value)
    assert signal.getsignal(signal.SIGTERM) is handler
    if "save_minutes" in arguments:
        assert Checkpoints(tmp_path / "checkpoints").latest() == models.load(tmp_path).training["step"] == 3
    else:
        assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("options", "changed", "words"),
    [
        ({"seed": 1}, {}, ["seed", "0 there", "1 now"]),
        ({"flip": False}, {}, ["flip", "True there", "False now"]),
        ({"data": "elsewhere"}, {}, ["data", "embedded there", "elsewhere now"]),
        ({}, {"batch_size": 4}, ["batch_size", "8 there", "4 now"]),
        ({}, {"optimization": Optimization(learning_rate=5e-4, warmup=2)}, ["learning_rate", "0.001 there", "0.0005 now"]),
        ({}, {"objective": Objective(prediction="eps")}, ["objective.prediction", "v there", "eps now"]),
        ({}, {"network": dataclasses.replace(NETWORK, dropout=0.1)}, ["network.dropout", "0.0 there", "0.1 now"]),
    ],
)
def test_a_folder_of_another_run_is_refused(whole, source, monkeypatch, options, changed, words):
    monkeypatch.setattr(train.diffusion, "unet", lambda *_: pytest.fail("computed before the options were checked"))
    with pytest.raises(InputError) as refused:
        trained(whole, source, task=dataclasses.replace(TASK, **changed), **options)
    for word in [str(whole), *words]:
        assert word in str(refused.value)


def test_a_folder_that_another_process_trains_in_is_refused(whole, source, tmp_path, monkeypatch):
    shutil.copytree(whole, tmp_path / "run")
    monkeypatch.setattr(train.loop, "train_step", lambda *_, **__: pytest.fail("a step was done"))
    locking = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); input()"
    command = [sys.executable, "-c", locking, str(tmp_path / "run" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="is being trained by another process"):
            trained(tmp_path / "run", source, steps=STEPS + 1)
        other.communicate("\n")
    assert trained(tmp_path / "run", source) == 0


@pytest.mark.parametrize("damaged", ["{", "[1]"])
def test_a_damaged_configuration_is_refused(source, tmp_path, damaged):
    (tmp_path / "config.json").write_text(damaged)
    with pytest.raises(InputError, match="config.json is damaged"):
        trained(tmp_path, source)
    assert (tmp_path / "config.json").read_text() == damaged


def test_a_folder_of_something_else_is_refused(source, tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(InputError, match="not empty and holds no run"):
        trained(tmp_path, source)
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_batch_larger_than_the_data_is_refused_before_a_folder_is_made(source, tmp_path):
    with pytest.raises(InputError, match="`batch_size` must be between 1 and the 40 images of arrays, got 41"):
        trained(tmp_path / "run", source, task=dataclasses.replace(TASK, batch_size=41))
    assert not (tmp_path / "run").exists()


@pytest.fixture
def program(monkeypatch, call_program):
    """Runs the program in an empty folder, where training is not to be reached; gives its exit status."""
    monkeypatch.setattr(train.loop, "train", lambda *_: pytest.fail("training was reached"))
    return partial(call_program, main, "train")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "fine.npz", "--attributes", "age"], ["unknown attribute 'age'", "group"]),
        (["--data", "two.npz"], ["several attributes", "--attributes", "group, hair"]),
        (["--data", "one.npz"], ["'group'", "only the value", "at least two"]),
        (["--data", "nan.npz"], ["nan.npz", "NaN", "image 3"]),
        (["--data", "nowhere.npz"], ["nowhere.npz"]),
        (["--data", "nowhere"], ["no data at 'nowhere'"]),
        (["--data", "fine.npz", "--value-names", "group"], ["ATTRIBUTE=NAME"]),
        (["--data", "fine.npz", "--steps", "0"], ["--steps", "at least 1", "0"]),
        (["--data", "fine.npz", "--label-dropout", "1.5"], ["--label-dropout", "1.5"]),
        (["--data", "fine.npz", "--warmup", "-1"], ["--warmup", "at least 0", "-1"]),
        (["--data", "fine.npz", "--save-minutes", "nan"], ["--save-minutes", "at least 0", "nan"]),
        (["--data", "fine.npz", "--ema-decay", "1"], ["--ema-decay", "[0, 1)", "1.0"]),
        (["--data", "fine.npz", "--learning-rate", "0"], ["--learning-rate", "above 0", "0.0"]),
        (["--data", "fine.npz", "--size", "15"], ["size", "15", "divisible"]),
        (["--data", "fine.npz", "--preset", "huge"], ["huge"]),
        (["--data", "fine.npz", "--zero-terminal-snr"], ["--zero-terminal-snr", "ddpm", "vp_cosine"]),
        (
            ["--data", "fine.npz", "--zero-terminal-snr", "--process", "ddpm_linear", "--prediction", "eps"],
            ["--zero-terminal-snr", "--prediction v"],
        ),
        (["--data", "fine.npz", "--phases", "0.1", "1"], ["decreasing", "SNR", "1.0"]),
    ],
)
def test_wrong_input_is_an_error_before_any_compute(program, tmp_path, capsys, arguments, words):
    images, labels = np.zeros((60, 16, 16, 3), np.uint8), np.arange(60) % 2
    floats = np.zeros((60, 16, 16, 3), np.float32)
    floats[3, 2, 1, 0] = np.nan
    np.savez(tmp_path / "fine.npz", images=images, labels=labels, attributes=["group"])
    np.savez(tmp_path / "two.npz", images=images, labels=np.stack([labels] * 2, 1), attributes=["group", "hair"])
    np.savez(tmp_path / "one.npz", images=images, labels=0 * labels, attributes=["group"])
    np.savez(tmp_path / "nan.npz", images=floats, labels=labels, attributes=["group"])
    assert program(*arguments, "--out", "run") == 2
    output = capsys.readouterr().err
    for word in words:
        assert word in output
    assert "Traceback" not in output and not (tmp_path / "run").exists()


def test_a_run_in_a_file_is_an_error(program, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert program("--data", "embedded", "--out", "file") == 2
    assert capsys.readouterr().err == "error: --out must be a folder, file is a file\n"


def test_help_has_examples(tmp_path):
    """Once as a user starts it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "train", "diffusion", "--help"]
    shown = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT, check=True
    ).stdout
    assert shown.count("jaxdiff train --preset") >= 3
    assert "tfds:" in shown and "--learning-rate" in shown
