"""As test_faults.py, of the programs that take longest: all faults of one come one after another, and share an undisturbed run.

What takes long in them, and fails as elsewhere, is left out: training in its usual length, and the frameworks of a comparison.
"""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import tyro
from PIL import Image

import evaluate.speed
import sample.objective
import tests.train.test_train_classifier_program as small_classifier
from evaluate.__main__ import main as evaluate_main
from evaluate.provenance import provenance
from jaxdiff._programs.demo import __main__ as demo
from jaxdiff._programs.demo import run as demo_run
from jaxdiff.image_classifier import ClassifierTraining
from sample.__main__ import main as sample_main
from tests.faults import CLASSIFIERS, MODEL, assert_goes_on_after_every_fault, write_inputs
from train.classifier import ClassifierOptions
from train.run import join, run_task


def train_small_classifier():
    """`train classifier` of a small network."""
    options = tyro.cli(ClassifierOptions)
    run_task(options, replace(small_classifier.TASK, steps=2), small_classifier.TRAINING, join(options))


SAFETY = ["--unsafe", "group=round", "--seeds", "1", "--steps", "2", "--replicates", "20"]
PROGRAMS = {
    "sweep": (
        sample_main,
        ["sample", "sweep", *MODEL[:-1], "3", "--modes", "direct/pixel", "--batches", "4", "--tau", "0.3", "0.7", "--count",
         "4"],
        "out",
    ),
    "objective": (
        sample_main,
        ["sample", "search", *MODEL, "--objective", "independence", "--retain", "0", "--tau", "0.3", "0.7", "--count", "16",
         "--reference", "data.npz"],
        "out/tau.json",
    ),
    "evaluated sweep": (
        evaluate_main,
        ["evaluate", "sweep", "--sweep", "swept", "--real", "data.npz", "--size", "16", "--attribute", "group", *CLASSIFIERS],
        "out",
    ),
    "safety": (evaluate_main, ["evaluate", "safety", "--real", "data.npz", "--synthetic", "set.npz", *SAFETY], "out"),
    "classifier": (train_small_classifier, ["train", "--attribute", "tone"], "out"),
    "speed": (evaluate_main, ["evaluate", "speed", "--rounds", "1", "--busy", "--tasks", "sampling", "job"], "out"),
    "demo": (demo.main, ["demo", "--reduced", "--model", "run"], "out"),
}  # fmt: skip
TIMED = {"evaluated sweep", "classifier", "speed"}
"""The programs whose output holds times in other places than fields `seconds`: only its names are compared."""


class Framework:
    """In place of a process of `evaluate speed`: both frameworks compute nothing, and the same."""

    identifier = 1

    def __init__(self, *_):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def call(self, method, *arguments):
        """What the method returns."""
        array = np.ones(4, np.float32)
        answers = {"sees_gpu": False, "exported": ({}, {}), "one_pass": array, "run_ends": (array, array), "run_end": array}
        answers |= {"size": (1, 1), "versions": {}, "pinning": {"cores": [0], "threads": None}}
        return provenance(*arguments) if method == "provenance" else answers.get(method)


@pytest.fixture(autouse=True)
def shorter(monkeypatch):
    """What takes long is left out."""
    small = ClassifierTraining(steps=2, batch=8, widths=(8,))
    for name in ("train_feature_classifiers", "measure_trade_off"):
        monkeypatch.setattr(sample.objective, name, partial(getattr(sample.objective, name), training=small))
    monkeypatch.setattr("evaluate.safety.ClassifierTraining", partial(ClassifierTraining, widths=(8,)))
    monkeypatch.setattr("evaluate.fairness.ClassifierTraining", partial(ClassifierTraining, widths=(8,)))
    monkeypatch.setattr(evaluate.speed, "Worker", Framework)
    for name in ("SETTLING", "IDLE"):
        monkeypatch.setattr(f"evaluate.speed_checks.{name}", 0.0)
    search = demo_run.search
    monkeypatch.setattr(demo_run, "search", lambda options: search(replace(options, metric="pixel")))
    monkeypatch.setattr(demo_run, "fairness", lambda options: None)
    monkeypatch.setattr(demo_run, "prompts", lambda options: None)
    monkeypatch.setattr(demo_run, "html_report", lambda options: options.out)
    for name in ("matched_pairs", "strip"):
        monkeypatch.setattr(demo_run, name, lambda *_: Image.new("RGB", (8, 8)))


LONGEST = {"evaluated sweep", "classifier"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONGEST)) for name in PROGRAMS])
def test_a_program_goes_on_after_every_fault(name, tmp_path, save_model, rng, call_program, capsys, monkeypatch):
    write_inputs(tmp_path, save_model, rng, size=16)
    main, arguments, named = PROGRAMS[name]
    if name == "evaluated sweep":
        drawing = ["--method", "switching", "--tau", "0.3", "0.7", "--count", "24"]
        assert call_program(sample_main, "sample", "draw", *MODEL, *drawing, "--out", "swept") == 0

    def run():
        capsys.readouterr()
        status = call_program(main, *arguments, "--out", named)
        return status, capsys.readouterr().err

    assert_goes_on_after_every_fault(run, tmp_path, named, monkeypatch, timed=name in TIMED)
