"""`jaxdiff train classifier`: interrupting and resuming changes nothing, and data too small to calibrate are refused."""

import dataclasses
import json
import os
import signal
from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image

import jaxdiff
import train.loop
from jaxdiff.calibration import BANDS
from jaxdiff.classifier import Classification
from jaxdiff.data import ArraySource, Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.parallel import make_mesh
from jaxdiff.process import vp_cosine, vp_linear
from jaxdiff.training import Optimization
from tests.processes import QUICK, succeed
from train.__main__ import main
from train.classifier import ClassifierOptions, NoisedClassification
from train.loop import STOPPED

STEPS = 5
TONE = Attribute("tone", ("dark", "light"))
NETWORK = ClassifierConfig(size=16, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.1, stem=2)


def source(seed, count, share=0.25) -> ArraySource:
    """Images whose brightness is the value, nearly."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) < share * count).astype(np.int32)[rng.permutation(count)]
    images = rng.integers(0, 156, (count, 16, 16, 3)) + 100 * labels[:, None, None, None]
    return ArraySource(images.astype(np.uint8), labels[:, None], [TONE], name=f"split {seed}")


TRAINING = source(0, 40)
HELD_OUT = {"validation": source(1, 120), "test": source(2, 120)}
TASK = NoisedClassification(
    NETWORK, vp_cosine(), Classification((0.75, 0.25)), Optimization(1e-2, warmup=2), STEPS, batch_size=8, held_out=HELD_OUT
)


def trained(out, steps=STEPS, task=TASK, **options) -> int:
    """Trains in-process, with a line of metrics for each step; gives the exit status."""
    given = ClassifierOptions(out, attribute="tone", log_every=1, **options)
    return train.loop.train(given, dataclasses.replace(task, steps=steps), TRAINING, make_mesh("", jax.devices()[:1]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert trained(out) == 0
    return out


def lines(out):
    """What each step measured."""
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["gradient_norm"]) for row in rows]


def test_a_run_writes_a_calibrated_classifier_and_its_measures(whole):
    made = jaxdiff.load_classifier(whole)
    assert (made.config, made.attribute, made.shares, made.training["step"]) == (NETWORK, TONE, (0.75, 0.25), STEPS)
    assert made.process.config() == vp_cosine().config()
    assert made.calibration.slopes.shape == (BANDS,) and not np.allclose(made.calibration.slopes, 1)
    calibration = json.loads((whole / "calibration.json").read_text())
    assert (
        calibration["levels"] == made.training["held_out"]
        and len(calibration["levels"]) == len(calibration["uncalibrated"]) == BANDS
    )
    assert all(level["count"] == 120 and level["majority"] == 0.75 for level in calibration["levels"])
    entropy = -0.75 * np.log(0.75) - 0.25 * np.log(0.25)
    assert all(level["prior_log_loss"] == pytest.approx(entropy) for level in calibration["levels"])
    for name in ("loss.png", "calibration.png"):
        with Image.open(whole / name) as picture:
            assert picture.size[0] > 400
    assert not list(whole.rglob("*.partial"))


def test_a_run_that_was_stopped_goes_on_as_if_it_was_not(whole, tmp_path, monkeypatch):
    """Stopped by a signal in its first step, which acts three steps later, before its calibration, and started again."""
    original, count = train.loop.train_step, iter(range(1, 100))

    def stopping(*arguments, **keywords):
        if next(count) == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **keywords)

    with monkeypatch.context() as patched:
        patched.setattr(train.loop, "train_step", stopping)
        assert trained(tmp_path) == STOPPED
    unfinished = jaxdiff.load_classifier(tmp_path)
    assert unfinished.training["step"] == 4 and not (tmp_path / "calibration.json").exists()
    np.testing.assert_array_equal(unfinished.calibration.slopes, 1)
    assert trained(tmp_path) == 0
    assert lines(tmp_path) == lines(whole) and [step for step, _, _ in lines(whole)] == [1, 2, 3, 4, 5]
    again, made = jaxdiff.load_classifier(tmp_path), jaxdiff.load_classifier(whole)
    jax.tree.map(np.testing.assert_array_equal, again.network.weights, made.network.weights)
    assert again.fingerprint == made.fingerprint


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"process": vp_linear()}, "another process.beta_max"),
        ({"objective": Classification((0.5, 0.5))}, "another objective.shares"),
        ({"optimization": Optimization(1e-2, warmup=2, weight_decay=0.3)}, "another optimization.weight_decay"),
    ],
)
def test_a_folder_of_another_run_is_refused(whole, task, words):
    with pytest.raises(InputError, match=words):
        trained(whole, task=dataclasses.replace(TASK, **task))


HERE = """
import sys
from pathlib import Path
from jaxdiff._console.device import prepare
from jaxdiff._console.terminal import run
prepare()
from tests.train.test_train_classifier_program import TASK, TRAINING
from train.run import run_task
from train.classifier import ClassifierOptions
options = ClassifierOptions(Path(sys.argv[1]), attribute="tone", log_every=1)
run(lambda: run_task(options, TASK, TRAINING, parallel.make_mesh("fsdp=2")))
"""


@pytest.mark.slow
def test_two_processes_train_and_calibrate_as_one(whole, tmp_path):
    succeed(("-c", HERE, tmp_path / "run"), 2, **QUICK)
    np.testing.assert_allclose(lines(tmp_path / "run"), lines(whole), rtol=1e-5)
    one, two = (json.loads((out / "calibration.json").read_text())["levels"] for out in (whole, tmp_path / "run"))
    for expected, got in zip(one, two, strict=True):
        assert got == pytest.approx(expected, rel=1e-4)


@pytest.fixture
def program(monkeypatch, call_program):
    """Runs the program in an empty folder, where training is not to be reached; gives its exit status."""
    monkeypatch.setattr(train.loop, "train", lambda *_: pytest.fail("training was reached"))
    return partial(call_program, main, "train", "classifier")


@pytest.fixture
def data(tmp_path):
    """Data sets in the folder of the program."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1500, 16, 16, 3), np.uint8)
    labels = (np.arange(1500) % 2)[:, None]
    np.savez(tmp_path / "fine.npz", images=images, labels=labels, attributes=["tone"])
    np.savez(tmp_path / "one.npz", images=images, labels=0 * labels, attributes=["tone"])
    np.savez(tmp_path / "few.npz", images=images[:200], labels=labels[:200], attributes=["tone"])
    (tmp_path / "drawn").mkdir()
    (tmp_path / "drawn" / "samples.json").write_text("{}")


FINE = ["--data", "fine.npz", "--attribute", "tone"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--data", "fine.npz", "--attribute", "age"], ["unknown attribute 'age'", "tone"]),
        (["--data", "one.npz", "--attribute", "tone"], ["'tone'", "value"]),
        (["--data", "few.npz", "--attribute", "tone"], ["validation", "at least 100"]),
        (["--data", "drawn", "--attribute", "tone"], ["drawn", "samples", "held-out"]),
        (["--data", "fine.npz"], ["--attribute"]),
        ([*FINE, "--held-out", "99"], ["--held-out", "at least 100", "99"]),
        ([*FINE, "--weight-decay", "-1"], ["--weight-decay", "at least 0", "-1"]),
        ([*FINE, "--model", "nowhere"], ["no model at nowhere"]),
        ([*FINE, "--model", "nowhere", "--process", "ve"], ["--model nowhere sets", "remove", "--process"]),
        ([*FINE, "--model", "nowhere", "--size", "16"], ["--model nowhere sets", "remove", "--size"]),
        ([*FINE, "--zero-terminal-snr"], ["--zero-terminal-snr", "ddpm", "vp_cosine"]),
    ],
)
def test_wrong_input_is_an_error_before_any_compute(program, data, tmp_path, capsys, arguments, words):
    assert program(*arguments, "--out", "run") == 2
    output = capsys.readouterr().err
    for word in words:
        assert word in output
    assert "Traceback" not in output and not (tmp_path / "run").exists()


def test_the_model_gives_process_and_size(monkeypatch, call_program, data, save_model, tmp_path):
    save_model(tmp_path / "model", process=vp_linear(0.3, 18.0), size=16)
    started = []
    monkeypatch.setattr(train.loop, "train", lambda options, task, source, mesh: started.append((task, source)) or 0)
    arguments = [*FINE, "--preset", "tiny", "--model", "model", "--out", "run"]
    assert call_program(main, "train", "classifier", *arguments) == 0
    ((task, given),) = started
    assert task.process.config() == vp_linear(0.3, 18.0).config() and task.network.size == 16
    assert given.image(0).shape == (16, 16, 3)
    share = given.labels.mean()
    assert task.objective.shares == pytest.approx((1 - share, share))
    parts = [{*split._indices.tolist()} for split in task.held_out.values()]
    assert len(given) + sum(map(len, parts)) == 1500 and not parts[0] & parts[1]
