"""A search that is killed goes on by the same command: what was trained, the pairs and the measured sets are not repeated."""

from functools import partial

import numpy as np
import pytest

import sample.objective
import sample.search
import sample.sweep
from jaxdiff import image_classifier
from jaxdiff.data import Attribute
from jaxdiff.fairness.tradeoff import TradeOff
from jaxdiff.image_classifier import ClassifierTraining, train_once
from sample.__main__ import main
from tests.sample.test_objective import perfect_classifier


class Killed(BaseException):
    """Ends a program where it stands."""


class Calls(list):
    """The arguments of a function, in order; call number `killed_at` ends the program."""

    killed_at = None

    def of(self, function):
        """The function, counted."""

        def counted(*arguments, **options):
            if len(self) == self.killed_at:
                raise Killed
            self.append(arguments)
            return function(*arguments, **options)

        return counted


@pytest.fixture
def program(call_program):
    return partial(call_program, main, "sample")


def killed_then_finished(program, calls, command, out, *kills):
    """The file of the search, which is the same killed or not."""
    assert program(*command, "--out", out / "whole.json") == 0
    whole = list(calls)
    calls.clear()
    for calls.killed_at in kills:
        with pytest.raises(Killed):
            program(*command, "--out", out / "cut.json")
    calls.killed_at = None
    assert program(*command, "--out", out / "cut.json") == 0
    assert len(calls) == len(whole)
    assert (out / "cut.json").read_bytes() == (out / "whole.json").read_bytes()
    assert not [file for file in out.iterdir() if "part" in file.name]


def test_pairs_that_were_searched_are_kept(program, save_model, tmp_path, monkeypatch):
    calls, race = Calls(), Attribute("race", ("a", "b", "c"))
    monkeypatch.setattr(sample.search, "find_transition", calls.of(sample.search.find_transition))
    model = save_model(tmp_path / "run", attributes=(race,))
    command = ["search", "--model", model, "--each-pair", "--metric", "pixel", "--batch", 2, "--solver", "ddim", "--steps", 3]
    killed_then_finished(program, calls, command, tmp_path, 0, 1, 2)


def test_the_classifier_of_the_features_is_trained_once(program, save_model, tmp_path, monkeypatch):
    trained, searched = [], Calls()
    train = image_classifier.train_image_classifier
    monkeypatch.setattr(image_classifier, "train_image_classifier", lambda *a, **b: trained.append(1) or train(*a, **b))
    few = ClassifierTraining(steps=2, batch=8, widths=(8, 16))
    monkeypatch.setattr(sample.search, "train_once", lambda *given, **how: train_once(*given, **how, training=few))
    monkeypatch.setattr(sample.search, "REFERENCE_COUNT", 32)
    find = searched.of(sample.search.find_transition)
    for module in (sample.search, sample.sweep):
        monkeypatch.setattr(module, "find_transition", find)
    images, labels = np.random.default_rng(0).integers(0, 256, (64, 16, 16, 3), np.uint8), np.arange(64) % 2
    np.savez(tmp_path / "real.npz", images=images, labels=labels, attributes=["group"], values_group=["square", "round"])
    sampled = ["--model", save_model(tmp_path / "run", size=16), "--solver", "ddim", "--steps", 3]
    sampled += ["--reference", tmp_path / "real.npz"]
    killed_then_finished(program, searched, ["search", *sampled, "--batch", 2], tmp_path, 0)
    assert len(trained) == 2  # one of each search
    swept = ["--modes", "direct/feature", "--batches", 1, 2, "--tau", 0.3, 0.6, "--count", 4]
    searched.clear()
    for searched.killed_at in (0, 1, None):
        try:
            status = program("sweep", *sampled, *swept, "--out", tmp_path / "sweep")
        except Killed:
            status = None
    assert status == 0 and len(trained) == 3 and len(searched) == 2
    assert sorted(each.name for each in (tmp_path / "sweep").iterdir()) == ["criterion.png", "search", "tau-0.300", "tau-0.600"]


def test_sets_that_were_measured_are_kept(program, save_model, tmp_path, monkeypatch):
    calls = Calls()

    def measure(tau, images, labels, classifiers, *, seed):
        return TradeOff(tau, 50 * tau + np.float64(images.mean()) / 1e4, 0.1, 0.9)

    monkeypatch.setattr(
        sample.objective, "train_feature_classifiers", lambda *_, **__: [perfect_classifier(Attribute("a", ("b", "c")), 0)]
    )
    monkeypatch.setattr(sample.objective, "measure_trade_off", calls.of(measure))
    common = ["--model", save_model(tmp_path / "run"), "--attribute", "group", "--solver", "ddim", "--steps", 4]
    command = ["search", *common, "--objective", "independence", "--tau", 0.8, 0.2, 0.5, "--count", 16]
    killed_then_finished(program, calls, command, tmp_path, 1, 2)
