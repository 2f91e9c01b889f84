"""An interrupted evaluation that is resumed trains no classifier twice and has the result of an undisturbed one."""

from contextlib import suppress
from dataclasses import astuple, replace

import jax
import numpy as np
import pytest

from jaxdiff import image_classifier
from jaxdiff.fairness import evaluation
from jaxdiff.fairness.energy import energy_test
from jaxdiff.fairness.evaluation import LabelledImages, evaluate_fairness
from jaxdiff.image_classifier import ClassifierTraining, classifier_key
from jaxdiff.spaces.pixels import scaled
from tests.fairness.test_evaluation import coloured

TRAINING = ClassifierTraining(steps=2, batch=8, widths=(8, 16))
UNITS = 9  # two classifiers and the energy tests, of the real set and of two others


OTHER_TRAININGS = [
    {"steps": 3}, {"batch": 9}, {"rate": 1e-3}, {"decay": 0.0}, {"widths": (8, 8)}, {"blocks": 2}, {"flip": False}
]  # fmt: skip


class Interrupted(Exception):
    """Raised by a callback."""


def noise(name, count, seed):
    """Images whose labels, of three values, are random."""
    rng = np.random.default_rng(seed)
    return LabelledImages(name, rng.integers(0, 256, (count, 16, 16, 3), np.uint8), np.arange(count) % 3)


REAL = noise("real", 60, 0), noise("real", 40, 1)
SETS = [noise("one", 48, 2), noise("two", 48, 3)]


def evaluated(*, real=REAL, sets=SETS, **options):
    given = {"seeds": 2, "training": TRAINING, "permutations": 9, "replicates": 20, **options}
    return evaluate_fairness(*real, sets, values=3, **given)


@pytest.fixture
def trained(monkeypatch):
    """The seeds of the classifiers that are trained, in order."""
    seeds, train = [], image_classifier.train_image_classifier

    def counted(*arguments, **options):
        seeds.append(options["seed"])
        return train(*arguments, **options)

    monkeypatch.setattr(image_classifier, "train_image_classifier", counted)
    return seeds


def assert_same(found, expected):
    """All numbers of two evaluations are equal bit for bit."""
    leaves = [jax.tree.flatten(each, is_leaf=lambda x: isinstance(x, str)) for each in map(plain, (found, expected))]
    assert leaves[0][1] == leaves[1][1]
    for a, b in zip(leaves[0][0], leaves[1][0], strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        np.testing.assert_array_equal(a, b)


def plain(evaluation):
    results = [astuple(result) for result in (evaluation.real, *evaluation.synthetic)]
    return results, jax.tree.leaves(evaluation.classifier), evaluation.train_count


@pytest.fixture(scope="module")
def undisturbed():
    """The evaluation, and what it keeps."""
    finished = {}
    return evaluated(finished=finished), finished


def test_interrupted_at_every_unit_it_ends_as_undisturbed(undisturbed, trained):
    finished, seen = {}, []

    def once_more(description, done, total):
        seen.append((done, total))
        # a unit is done when the next one begins
        if len(seen) == 2:
            raise Interrupted

    for unit in range(UNITS):
        seen.clear()
        with suppress(Interrupted):
            evaluated(finished=finished, progress=once_more)
        assert seen == [(unit, UNITS), (unit + 1, UNITS)]
        assert len(trained) == [1, 2, 2, 3, 4, 4, 5, 6, 6][unit]
    assert_same(evaluated(finished=finished), undisturbed[0])
    assert_same(evaluated(), undisturbed[0])
    assert len(trained) == 12  # six of the run without finished parts


def test_a_finished_evaluation_computes_nothing(undisturbed, trained, monkeypatch):
    seen = []
    monkeypatch.setattr("jaxdiff.fairness.evaluation.energy_test", lambda *_, **__: pytest.fail("an energy test was repeated"))
    result = evaluated(finished=dict(undisturbed[1]), progress=lambda *report: seen.append(report))
    assert not trained and seen == [("done", UNITS, UNITS)]
    assert_same(result, undisturbed[0])
    monkeypatch.undo()
    for images, measured in zip((REAL[1], *SETS), (result.real, *result.synthetic), strict=True):
        vectors = scaled(images.images.reshape(len(images.images), -1))
        for (a, b), test in measured.energy["pixels"].items():
            groups = (vectors[images.labels == value] for value in (a, b))
            assert astuple(test) == astuple(energy_test(*groups, permutations=9, seed=0))


def changed(images, at):
    """One level of one pixel is another."""
    pixels = images.images.copy()
    pixels[at, 0, 0, 0] ^= 1
    return replace(images, images=pixels)


OF_TWO = SETS[1].half_indices(values=3, seed=0)


@pytest.mark.parametrize(
    ("options", "trainings"),
    [
        # a set has one checksum, whether its classifiers are trained on the image or only tested on it
        ({"sets": [SETS[0], changed(SETS[1], OF_TWO[0][0])]}, 2),
        pytest.param({"sets": [SETS[0], changed(SETS[1], OF_TWO[1][0])]}, 2, marks=pytest.mark.slow),
        ({"seeds": 3}, 3),
        pytest.param({"training": replace(TRAINING, rate=1e-3)}, 6, marks=pytest.mark.slow),
        pytest.param({"permutations": 19}, 0, marks=pytest.mark.slow),
        ({"train_count": 20}, 6),
        ({"sets": SETS[:1]}, 0),
        ({"replicates": 10}, 0),
    ],
)
def test_what_changed_is_computed_anew_and_nothing_else(undisturbed, trained, options, trainings):
    result = evaluated(finished=dict(undisturbed[1]), **options)
    assert len(trained) == trainings
    assert_same(result, evaluated(**options))


@pytest.mark.parametrize("name", ["sets", "real"])
def test_images_of_other_labels_get_no_answers_of_the_same_images(undisturbed, name):
    first, second = SETS if name == "sets" else REAL
    other = {name: (first, replace(second, labels=second.labels[::-1].copy()))}
    assert_same(evaluated(**other, finished=dict(undisturbed[1])), evaluated(**other))


def test_a_classifier_has_a_key_of_all_that_it_is_trained_on():
    given = SETS[0]
    relabelled, indices = replace(given, labels=given.labels[::-1]), np.arange(9)
    keys = {
        classifier_key(images.digest, indices, values=values, seed=seed, training=training)
        for images, indices, values, seed, training in [
            (given, None, 3, 0, TRAINING),
            (given, indices, 3, 0, TRAINING),
            (given, indices[::-1], 3, 0, TRAINING),
            (changed(given, 0), None, 3, 0, TRAINING),
            (relabelled, None, 3, 0, TRAINING),
            (given, None, 4, 0, TRAINING),
            (given, None, 3, 1, TRAINING),
            *((given, None, 3, 0, replace(TRAINING, **other)) for other in OTHER_TRAININGS),
        ]
    }
    assert len(keys) == 7 + len(OTHER_TRAININGS)


def test_each_set_is_hashed_once(monkeypatch):
    sizes, of = [], evaluation.checksum
    monkeypatch.setattr(evaluation, "checksum", lambda tree: sizes.append(len(tree[0])) or of(tree))
    evaluated(real=[replace(each) for each in REAL], sets=[replace(each) for each in SETS], finished={})
    assert sorted(sizes) == [40, 48, 48, 60]


def test_equal_sets_are_evaluated_once(trained):
    twice = coloured("a", 40, seed=1)
    given = {"values": 2, "seeds": 1, "training": TRAINING, "permutations": 9, "replicates": 20, "finished": {}}
    seen = []
    result = evaluate_fairness(
        twice, twice, [twice, replace(twice, name="b")], **given, progress=lambda *report: seen.append(report)
    )
    assert len(trained) == 2 and seen[-1] == ("done", 6, 6)
    assert [each.name for each in result.synthetic] == ["a", "b"]
