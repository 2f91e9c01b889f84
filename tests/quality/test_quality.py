"""The quality of a set consists of its measures, for all images and by group."""

import dataclasses
import math

import numpy as np
import pytest

from jaxdiff import InputError
from jaxdiff.quality import (
    Moments,
    balanced_subsets,
    density_coverage,
    frechet_distance,
    frechet_estimate,
    kernel_distance,
    measure_quality,
    precision_recall,
)

EXTRACTOR = {"name": "pool3", "sha256": "00", "resize": "bilinear"}


@pytest.fixture(scope="module")
def sets():
    """Real and synthetic features of three groups, of which the last has few images; group 1 is drawn badly."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 50, 40]), np.repeat([0, 1, 2], [50, 40, 5])
    centres = np.array([[0.0, 0], [6, 0], [0, 6]])
    real, synthetic = (centres[own] + rng.normal(size=(len(own), 2)) for own in labels)
    synthetic[labels[1] == 1] += 2
    return real, synthetic, labels


@pytest.fixture(scope="module")
def quality(sets):
    real, synthetic, labels = sets
    return measure_quality(
        real, synthetic, extractor=EXTRACTOR, labels=labels, values=3, size=20, subsets=5, replicates=9, seed=3
    )


def expected(x, y):
    return (
        frechet_estimate(x, y),
        kernel_distance(x, y, size=20, subsets=5, seed=3),
        *precision_recall(x, y, k=3, replicates=9, seed=3),
        *density_coverage(x, y, k=5, replicates=9, seed=3),
    )


def values_of(scores):
    return tuple(getattr(scores, field.name) for field in dataclasses.fields(scores) if field.name != "count")


def test_the_whole_is_measured_of_all_images(sets, quality):
    real, synthetic, _ = sets
    assert quality.whole.count == (150, 95)
    assert values_of(quality.whole) == expected(real, synthetic)
    distance = frechet_distance(Moments.from_features(real), Moments.from_features(synthetic))
    assert quality.whole.frechet.value == pytest.approx(distance, rel=1e-12)


def test_a_group_is_measured_against_the_same_real_group(sets, quality):
    real, synthetic, labels = sets
    for group in (0, 1):
        own = [features[of == group] for features, of in zip((real, synthetic), labels, strict=True)]
        assert quality.groups[group].count == tuple(map(len, own))
        assert values_of(quality.groups[group]) == expected(*own)
    assert quality.groups[0].frechet.high < 1 < quality.groups[1].frechet.low


def test_a_group_of_too_few_images_has_only_its_count(quality):
    scores = quality.groups[2]
    assert scores.count == (40, 5)
    for each in (scores.frechet, scores.kernel.full, scores.precision, scores.recall, scores.density, scores.coverage):
        assert all(math.isnan(value) for value in dataclasses.astuple(each))
    assert math.isnan(scores.kernel.mean) and math.isnan(scores.kernel.deviation)


def test_an_absent_group_is_nan_and_never_zero(sets):
    real, synthetic, labels = sets
    kept = labels[1] != 0
    options = {"extractor": EXTRACTOR, "values": 3, "subsets": 2, "replicates": 2}
    found = measure_quality(real, synthetic[kept], labels=(labels[0], labels[1][kept]), **options)
    assert found.groups[0].count == (60, 0) and math.isnan(found.groups[0].frechet.value)
    assert not math.isnan(found.groups[1].frechet.value)


def test_the_extractor_is_reported_as_given_and_later_changes_do_not_show(sets):
    given = dict(EXTRACTOR)
    found = measure_quality(sets[0], sets[1], extractor=given, subsets=2, replicates=2)
    given["name"] = "other"
    assert found.extractor == EXTRACTOR and found.groups == ()


def test_the_answer_is_a_function_of_its_seed(sets):
    real, synthetic, _ = sets
    options = {"extractor": EXTRACTOR, "subsets": 3, "size": 20, "replicates": 5}
    first, again, other = (measure_quality(real, synthetic, seed=seed, **options).whole for seed in (1, 1, 2))
    assert first == again
    assert first.kernel.mean != other.kernel.mean and first.precision.error != other.precision.error
    assert first.frechet == other.frechet


def test_single_precision_features_are_measured_in_double(sets):
    real, synthetic = (features.astype(np.float32) for features in sets[:2])
    options = {"extractor": EXTRACTOR, "subsets": 2, "replicates": 2}
    doubled = measure_quality(real.astype(np.float64), synthetic.astype(np.float64), **options)
    assert measure_quality(real, synthetic, **options) == doubled


def test_held_out_real_images_are_the_floor_of_as_many_perfect_ones(rng):
    # What separates a set of real images from the rest is only their number: the same as for perfect synthetic images.
    found = []
    for _ in range(40):
        reference, held_out, perfect = (rng.normal(size=(60, 4)) for _ in range(3))
        worse = 1.5 * rng.normal(size=(60, 4))
        options = {"extractor": EXTRACTOR, "subsets": 1, "replicates": 2}
        found.append([measure_quality(reference, x, **options).whole.frechet.value for x in (held_out, perfect, worse)])
    floor, perfect, worse = np.mean(found, axis=0)
    error = np.std(found, axis=0).max() / math.sqrt(40)
    assert floor > 10 * np.std(found, axis=0)[0] / math.sqrt(40)  # far from 0, the distance of the distributions
    assert abs(floor - perfect) < 4 * error and worse > 2 * floor


def test_equal_draws_take_as_many_of_each_group_from_every_set(rng):
    labels = [rng.integers(3, size=size) for size in (50, 80, 30)]
    fewest = np.min([np.bincount(own, minlength=3) for own in labels], axis=0)
    for own, drawn in zip(labels, balanced_subsets(labels, values=3), strict=True):
        np.testing.assert_array_equal(np.bincount(own[drawn], minlength=3), fewest)
        assert len(set(drawn.tolist())) == len(drawn)


def test_equal_draws_are_random_and_a_function_of_their_seed():
    labels = [np.zeros(100, int), np.repeat([0, 1], [50, 0])]
    first, again, other = (balanced_subsets(labels, values=2, seed=seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert set(first) != set(other)
    assert set(range(100)) == set(np.concatenate([balanced_subsets(labels, values=2, seed=seed)[0] for seed in range(20)]))


@pytest.mark.parametrize(
    ("shapes", "options", "message"),
    [
        (((11, 2), (20, 2)), {}, "at least 12 feature vectors"),
        (((20, 3), (20, 2)), {}, "one length each"),
        (((20, 2), (20, 2)), {"labels": (np.zeros(20, int), np.full(20, 2)), "values": 2}, "`labels` must be at least one"),
        (((20, 2), (20, 2)), {"labels": (np.zeros(20, int), np.zeros(20, int))}, "`values` must be at least 2"),
        (((20, 2), (20, 2)), {"labels": (np.zeros(20, int), np.zeros(9, int)), "values": 2}, "got 9 for 20 synthetic images"),
        (((20, 2), (20, 2)), {"replicates": 1}, "`replicates` 2"),
        (((20, 2), (20, 2)), {"subsets": 0}, "`subsets` must be at least 1"),
        (((20, 2), (20, 2)), {"size": 1}, "`size` and"),
    ],
)
def test_what_cannot_be_measured_is_refused(shapes, options, message):
    with pytest.raises(InputError, match=message):
        measure_quality(*map(np.zeros, shapes), extractor=EXTRACTOR, **options)


def test_draws_of_no_set_are_refused():
    with pytest.raises(InputError, match="at least one set"):
        balanced_subsets([], values=2)
