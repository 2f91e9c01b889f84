"""Likelihood and memorisation of models without labels, without a null label, and of other data than images."""

import dataclasses
import json

import numpy as np
import pytest

import evaluate.__main__
import train.__main__
from jaxdiff import model as models
from jaxdiff import spaces
from tests.spaces.series import SERIES, Series

ASKED = {
    "likelihood": (
        "--data", "data.npz", "--split", "all", "--count", "4", "--batch-size", "4", "--steps", "2", "--out", "out.json",
    ),
    "memorization": (
        "--samples", "data.npz", "--train", "data.npz", "--members", "100", "--draws", "1", "--neighbours", "5", "--out", "out",
    ),
}  # fmt: skip
COMMANDS = pytest.mark.parametrize("command", ASKED)


@pytest.fixture
def evaluated(call_program, tmp_path):
    """Evaluates the model in the folder `run` on random images of two groups."""
    rng = np.random.default_rng(0)
    split = np.repeat(["train", "test"], [160, 110])
    images, labels = rng.integers(0, 256, (270, 8, 8, 3), np.uint8), np.tile(["square", "round"], 135)
    np.savez(tmp_path / "data.npz", images=images, labels=labels, attributes=["group"], split=split)
    program = evaluate.__main__.main
    return lambda command, *more: call_program(program, "evaluate", command, "--model", "run", *ASKED[command], *more)


@COMMANDS
@pytest.mark.parametrize("condition", ["own", "null"])
def test_unconditional_model_needs_no_labels(command, condition, evaluated, save_model, tmp_path):
    save_model(tmp_path / "run", attributes=())
    assert evaluated(command, "--condition", condition) == 0
    file = tmp_path / "out.json" if command == "likelihood" else tmp_path / "out" / "memorization.json"
    report = json.loads(file.read_text())
    values = report["images"] if command == "likelihood" else report["membership"][0]["mean_loss"]
    assert np.isfinite(values).all()


@COMMANDS
def test_model_without_a_null_label_needs_own_labels(command, evaluated, save_model, tmp_path, capsys):
    save_model(tmp_path / "run", null_label=False)
    assert evaluated(command, "--condition", "own") == 0
    capsys.readouterr()
    assert evaluated(command, "--condition", "null") == 2
    assert "the model has no null label" in " ".join(capsys.readouterr().err.split())


@COMMANDS
def test_model_of_series_is_an_error(command, evaluated, save_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(spaces.SPACES, Series.name, Series)
    save_model(tmp_path / "run")
    models.save(tmp_path / "run", dataclasses.replace(models.load(tmp_path / "run"), space=SERIES))
    assert evaluated(command) == 2
    assert "the model at run is of windows of shape (6, 3); this takes one of images" in " ".join(
        capsys.readouterr().err.split()
    )


def test_classifier_for_a_model_of_series_is_an_error(call_program, save_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(spaces.SPACES, Series.name, Series)
    save_model(tmp_path / "run")
    models.save(tmp_path / "run", dataclasses.replace(models.load(tmp_path / "run"), space=SERIES))
    given = ("classifier", "--model", "run", "--attribute", "glasses", "--out", "odds")
    assert call_program(train.__main__.main, "train", *given) == 2
    assert "the model at run is of windows" in " ".join(capsys.readouterr().err.split())
