"""The search by objective: the measures at each tau, the choice of tau, and drawing with it."""

import math
from functools import partial

import numpy as np
import pytest

import sample.objective
from jaxdiff.data import Attribute, embedded, open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.confusion import confusion_matrix
from jaxdiff.fairness.feature_classifiers import associated_names
from jaxdiff.fairness.tradeoff import TradeOff, measure_trade_off
from jaxdiff.image_classifier import ClassifierTraining, ImageClassifier
from jaxdiff.sampleset import SampleSet
from sample.__main__ import main

QUICK = ClassifierTraining(steps=80, batch=32, widths=(8, 16), flip=False)
GROUP, HAIR = Attribute("group", ("square", "round")), Attribute("hair", ("short", "long"))


class Perfect(ImageClassifier):
    """Reads the true value, which is encoded in a corner of the image."""

    def predict(self, images):
        """The value in this classifier's row of the image."""
        return images[:, self.state, 0, 0].astype(np.int64) // 100


def perfect_classifier(attribute, row) -> AttributeClassifier:
    truth = np.arange(100) % len(attribute.values)
    perfect = confusion_matrix(truth, truth, values=len(attribute.values))
    return AttributeClassifier(attribute, Perfect(None, row), perfect, 100.0)


def drawn(labels, seen, hair, bright):
    """Images 16x16 whose corner encodes two features, and whose brightness follows `bright`."""
    images = np.random.default_rng(0).integers(60, 120, (len(labels), 16, 16, 3)).astype(np.uint8)
    images[:, 4:] += (80 * bright[:, None, None, None]).astype(np.uint8)
    images[:, 0, 0, 0], images[:, 1, 0, 0] = 100 * seen, 100 * hair
    images[:, 0, 1:], images[:, 1, 1:] = 0, 0
    return images


CLASSIFIERS = (perfect_classifier(GROUP, 0), perfect_classifier(HAIR, 1))


def test_the_measures_are_those_that_the_images_were_made_with():
    """Retention and disparity exactly; the dependence of what a classifier can see, and of what it cannot."""
    rng = np.random.default_rng(1)
    labels = np.arange(240) % 2
    seen = np.where(np.arange(240) < 60, 1 - labels, labels)
    hair = np.where(labels == 0, np.arange(240) % 8 < 2, np.arange(240) % 8 < 6).astype(int)
    point = measure_trade_off(0.3, drawn(labels, seen, hair, labels), labels, CLASSIFIERS, training=QUICK)
    rates = [hair[labels == group].mean() for group in (0, 1)]
    assert (point.setting, point.retention) == (0.3, 0.75)
    assert point.disparity == pytest.approx(abs(rates[1] - rates[0]))
    assert point.dependence > 45  # brightness is the label
    blind = drawn(labels, rng.permutation(labels), rng.permutation(labels), rng.permutation(labels))
    assert measure_trade_off(0.3, blind, labels, CLASSIFIERS, training=QUICK).dependence < 15


def test_without_other_attributes_there_is_no_disparity():
    labels = np.arange(40) % 2
    point = measure_trade_off(
        0.3, drawn(labels, labels, labels, labels), labels, CLASSIFIERS[:1], training=ClassifierTraining(steps=2)
    )
    assert math.isnan(point.disparity) and point.retention == 1


@pytest.mark.parametrize("labels", [np.zeros(20, int), np.array([0] * 17 + [1] * 3)])
def test_sets_of_one_value_or_too_few_images_are_refused(labels):
    with pytest.raises(InputError, match="`labels` must have at least 4 of two or more values"):
        measure_trade_off(0.3, drawn(labels, labels, labels, labels), labels, CLASSIFIERS)


def test_associated_attributes_are_named_or_all():
    faces = open_data("embedded", split="test")
    assert associated_names(faces, "group", ("all",)) == [each.name for each in embedded.ATTRIBUTES[1:]]
    assert associated_names(faces, "group", ("hair",)) == ["hair"]
    with pytest.raises(InputError, match="takes other attributes of embedded .*; got group"):
        associated_names(faces, "group", ("group",))


@pytest.fixture
def program(call_program):
    return partial(call_program, main, "sample")


@pytest.fixture
def measures(monkeypatch):
    """No classifier is trained: the measures are a known function of tau."""
    known = {0.2: (5.0, 0.5, 0.5), 0.5: (20.0, 0.1, 0.75), 0.8: (30.0, 0.3, 0.9)}

    def measured(tau, images, labels, classifiers, *, seed):
        assert len(images) == len(labels) == 16 and set(labels) == {0, 1} and len(classifiers) == len(embedded.ATTRIBUTES)
        return TradeOff(tau, *known[tau])

    monkeypatch.setattr(
        sample.objective,
        "train_feature_classifiers",
        lambda spec, names, **_: [perfect_classifier(Attribute(name, ("a", "b")), 0) for name in names],
    )
    monkeypatch.setattr(sample.objective, "measure_trade_off", measured)


@pytest.mark.parametrize(
    ("objective", "retain", "tau"),
    [
        ("independence", 0.4, 0.2),
        pytest.param("independence", 0.7, 0.5, marks=pytest.mark.slow),
        pytest.param("parity", 0.7, 0.5, marks=pytest.mark.slow),
        ("parity", 0.8, 0.8),
    ],
)
def test_the_best_tau_for_the_objective_is_found_and_drawn_with(
    program, save_model, measures, tmp_path, capsys, objective, retain, tau
):
    common = ["--model", save_model(tmp_path / "run"), "--attribute", "group", "--solver", "ddim", "--steps", 4]
    search = ["search", *common, "--objective", objective, "--retain", retain, "--tau", 0.8, 0.2, 0.5, "--count", 16]
    assert program(*search) == 0
    output = capsys.readouterr().out
    assert all(number in output for number in ("30.0", "0.300", "0.900"))
    found = Transition.from_json((tmp_path / "run" / "tau-group.json").read_text())
    assert (found.tau, found.mode, found.taus) == (tau, f"{objective}/retain {retain:g}", (0.2, 0.5, 0.8))
    assert [each["retention"] for each in found.context["measured"]] == [0.5, 0.75, 0.9]
    assert found.residual == pytest.approx(found.curve[found.taus.index(tau)] / found.curve[-1])
    assert found.curve == ((5.0, 20.0, 30.0) if objective == "independence" else (0.5, 0.1, 0.3))
    sets = tmp_path / "run" / "tau-group"
    assert SampleSet.open(sets / "tau-0.200").provenance["tau"] == 0.2
    assert program("draw", *common, "--method", "switching", "--count", 4, "--out", "set") == 0
    assert SampleSet.open(tmp_path / "set").provenance["search"] == found.mode


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--retain", "0.5"], ["--retain needs --objective"]),
        (["--start", "none"], ["--start none needs --objective"]),
        (["--objective", "parity", "--mode", "prefix"], ["--objective finds a single tau and cannot be combined"]),
        (["--objective", "parity", "--retain", "1.5"], ["--retain must lie in [0, 1], got 1.5"]),
        (["--objective", "parity", "--tau", "0.5", "0.5"], ["--tau takes times in [0, 1] that differ"]),
        (["--objective", "parity", "--count", "8"], ["--count must be at least 16"]),
        (["--objective", "parity", "--associated", "mood"], ["got mood"]),
        (["--objective", "independence", "--retain", "0.95", "--count", "16"], ["no point has a retention of 0.95", "0.9"]),
    ],
)
def test_wrong_input_is_an_error(program, save_model, measures, tmp_path, capsys, options, words):
    taus = [] if "--tau" in options or options[0] == "--start" or options[0] == "--retain" else ["--tau", 0.2, 0.5, 0.8]
    model = ["--model", save_model(tmp_path / "run"), "--solver", "ddim", "--steps", 4]
    assert program("search", *model, *options, *taus) == 2
    output = " ".join(capsys.readouterr().err.split())
    assert all(word in output for word in words)
    assert not (tmp_path / "run" / "tau-group.json").exists()
