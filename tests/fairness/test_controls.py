"""Each control set has the defect that it is named after, and its measurements exceed the limits."""

import numpy as np
import pytest

from jaxdiff.data import embedded
from jaxdiff.errors import InputError
from jaxdiff.fairness.controls import control_sets, ideal_embedded, label_kept_embedded, random_split
from jaxdiff.fairness.findings import NAMES, Limits
from jaxdiff.quality.real_comparison import ImageFeatures, compare_with_real

COUNT = 120


def faces(start, count=COUNT):
    images, labels = embedded.generate(np.arange(start, start + count), size=16)
    return images, labels[:, 0]


@pytest.fixture(scope="module")
def battery():
    images, labels = faces(0)
    return {case.name: case for case in control_sets(images, labels, faces(1000, 300)[0], values=2)}


def features(images):
    """Mean colours of blocks: features that compare faces about as well as a network's, and are known exactly."""
    return images.reshape(-1, 4, 4, 4, 4, 3).mean(axis=(2, 4)).reshape(len(images), -1)


@pytest.fixture(scope="module")
def measured(battery):
    sets = [ImageFeatures(case.images, features(case.images), case.labels) for case in battery.values()]
    held_out, labels = faces(2000)
    train = faces(1000, 300)[0]
    found = compare_with_real(
        features(faces(3000, 200)[0]), ImageFeatures(held_out, features(held_out), labels), sets, values=2, train=train
    )
    return dict(zip(battery, found, strict=True))


def test_labels_are_constructed_as_named(battery):
    images, labels = faces(0)
    for name in ("labels flipped (tau = 0)", "labels unchanged (tau = T)", "labels flipped for the darker half"):
        assert (battery[name].images == images).all()
    assert (battery["labels flipped (tau = 0)"].labels == 1 - labels).all()
    assert (battery["labels unchanged (tau = T)"].labels == labels).all()
    half = battery["labels flipped for the darker half"]
    wrong, brightness = half.labels != labels, images.mean(axis=(1, 2, 3))
    for value in (0, 1):
        of_value = labels == value
        assert wrong[of_value].mean() == pytest.approx(0.5, abs=0.02)
        assert brightness[of_value & wrong].max() <= brightness[of_value & ~wrong].min()
    shuffled = battery["labels shuffled"]
    assert sorted(shuffled.labels) == sorted(labels) and 0.3 < (shuffled.labels != labels).mean() < 0.7
    for case in battery.values():
        assert case.images.dtype == np.uint8 and len(case.images) == len(case.labels) == COUNT
        assert set(case.expected) <= set(NAMES) and case.fair == (case.name == "labels shuffled")


def test_coarse_features_are_the_images_and_fine_ones_of_the_next_group(battery):
    images, labels = faces(0)
    mixed = battery["coarse features of one group, fine ones of the next"]
    assert (mixed.labels == 1 - labels).all()

    def coarse(x):
        return features(x.astype(float))

    def correlation(a, b):
        return np.corrcoef((a - a.mean(0)).ravel(), (b - b.mean(0)).ravel())[0, 1]

    assert correlation(coarse(mixed.images), coarse(images)) > 0.9
    fine = [np.abs(np.diff(x.astype(float), axis=1)) for x in (mixed.images, images)]
    assert correlation(*fine) < 0.6


def test_what_is_wrong_is_beyond_its_limit_and_nothing_else(measured, battery):
    limits = Limits()
    for name, found in measured.items():
        expected = battery[name].expected
        repeated = found.repeated.value - found.repeated.real > limits.repeated
        assert repeated == ("repeated" in name), name
        copied = found.copies.p_value < 0.001 and found.copies.excess > 0.9 and found.copies.near_duplicates[0] > 0.9
        assert copied == ("memorisation" in expected), name
        atypical = [group.atypical > limits.atypical for group in found.groups]
        blurred_or_noise = ("quality" in expected) and not name.startswith("one group")
        assert atypical == ([True, False] if name.startswith("one group") else [blurred_or_noise] * 2), name
    for name in ("one image repeated", "one image repeated, noise added"):
        assert measured[name].recall.value < 0.1 < measured[name].recall.real
    assert measured["pure noise"].whole.precision.value == 0 < measured["pure noise"].whole.precision.real
    flipped, own = measured["labels flipped (tau = 0)"], measured["labels unchanged (tau = T)"]
    # the groups change places, and against all real images neither is unlike them
    assert flipped.groups[0].precision.value == pytest.approx(own.groups[1].precision.value, abs=0.1)


def test_without_training_images_there_is_no_copy_test(battery):
    images, labels = faces(0)
    own = ImageFeatures(images, features(images), labels)
    (found,) = compare_with_real(own.features, own, [own], values=2)
    assert found.copies is None
    assert found.recall == found.coverage and found.whole.precision.value == found.whole.precision.real == 1
    with pytest.raises(InputError, match="at least 12"):
        compare_with_real(own.features, own.take(np.arange(5)), [own], values=2)
    with pytest.raises(InputError, match="equal lengths"):
        ImageFeatures(images, features(images), labels[1:])


def test_fair_sets_are_independent_of_their_labels():
    images, labels = faces(0)
    split = random_split(images, labels, seed=3)
    assert sorted(map(bytes, split.images)) == sorted(map(bytes, images)) and sorted(split.labels) == sorted(labels)
    ideal = ideal_embedded(4000, size=16, seed=3)
    _, truth = embedded.generate(np.arange(4000), size=16)
    means = {name: np.mean(pair) for name, pair in embedded.DEFAULT_ASSOCIATIONS.items()}
    assert np.bincount(ideal.labels).tolist() == [2000, 2000] and ideal.fair
    # the reference has the same share of every feature, and other faces
    for column, attribute in enumerate(embedded.ATTRIBUTES):
        if attribute.name in means:
            assert truth[:, column].mean() == pytest.approx(means[attribute.name], abs=0.04)
    assert abs(np.corrcoef(ideal.labels, ideal.images.reshape(4000, -1).mean(1))[0, 1]) < 0.06
    assert not (ideal.images[:50] == faces(0, 50)[0]).all(axis=(1, 2, 3)).any()
    kept = label_kept_embedded(4000, size=16, seed=3)
    pairs = {name: (mean, mean) for name, mean in means.items()}
    attributes = embedded.labels(np.arange(4000), seed=2**33 + 3, associations=pairs)
    assert (kept.labels == attributes[:, 0]).all() and kept.expected == ("independence",)


def test_wrong_input_is_refused():
    images, labels = faces(0, 8)
    with pytest.raises(InputError, match="every value"):
        control_sets(images, np.zeros(8, int), images, values=2)
    with pytest.raises(InputError, match="`train` at least one image"):
        control_sets(images, labels, images[:0], values=2)
