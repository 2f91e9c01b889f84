"""The generated faces: reproducible in any order, biased as specified and not otherwise, and legible."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.svm import SVC

from jaxdiff.data import embedded
from jaxdiff.data.attributes import find
from jaxdiff.data.embedded import ATTRIBUTES, DEFAULT_ASSOCIATIONS, generate, labels, render
from jaxdiff.errors import InputError

NAMES = [attribute.name for attribute in ATTRIBUTES]
EVEN = {name: (0.5, 0.5) for name in DEFAULT_ASSOCIATIONS}
INDEPENDENT = sorted(set(NAMES) - set(DEFAULT_ASSOCIATIONS) - {"group"})
COUNT = 40_000  # of labels whose frequencies are measured


def column(table, name):
    return table[:, find(ATTRIBUTES, name)]


def dependence(first, second):
    """The p-value of the chi-square test that two columns of labels are independent."""
    return stats.chi2_contingency(stats.contingency.crosstab(first, second).count, correction=False).pvalue


def test_hash_agrees_with_published_splitmix64_outputs():
    state = np.array([1234567], np.uint64) + np.arange(1, 6, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert embedded._mix(state).tolist() == expected


@pytest.mark.parametrize("size", [16, 20, 32, 53])
def test_an_image_depends_on_its_index_and_not_on_its_batch(size):
    indices = np.r_[np.arange(150), 10**12]  # more than a chunk
    images, table = generate(indices, size=size, seed=5)
    assert images.shape == (151, size, size, 3) and images.dtype == np.uint8
    order = np.random.default_rng(0).permutation(151)
    # alone too: what is drawn of a face must not end where the faces of its batch do
    for part in np.array_split(order, [*range(1, 40), 80]):
        again, again_table = generate(indices[part], size=size, seed=5)
        np.testing.assert_array_equal(again, images[part])
        np.testing.assert_array_equal(again_table, table[part])


def test_labels_are_those_of_the_images():
    indices = np.arange(100)
    np.testing.assert_array_equal(labels(indices, seed=2, associations=EVEN), generate(indices, seed=2, associations=EVEN)[1])


def test_an_empty_batch_is_empty():
    images, table = generate(np.arange(0))
    assert images.shape == (0, 32, 32, 3) and table.shape == (0, len(ATTRIBUTES))


def test_seeds_are_unrelated():
    first, second, shifted = (labels(np.arange(COUNT), seed=seed, associations=EVEN) for seed in (0, 1, 2**64 - 1))
    for other in (second, shifted, np.roll(first, 1, axis=0)):
        for name in NAMES:
            assert dependence(column(first, name), column(other, name)) > 1e-5, name
    assert (generate(np.arange(20), seed=0)[0] != generate(np.arange(20), seed=1)[0]).mean() > 0.5


@pytest.mark.parametrize("associations", [None, {"hair": (0.02, 0.4), "beard": (1, 0)}])
def test_frequencies_are_the_given_probabilities(associations):
    table = labels(np.arange(COUNT), seed=1, associations=associations)
    group = column(table, "group")
    expected = {name: (0.5,) * 2 for name in ("smile", "background")} | {**DEFAULT_ASSOCIATIONS, **(associations or {})}
    for name, pair in expected.items():
        for value, probability in enumerate(pair):
            of_group = column(table, name)[group == value]
            deviation = np.sqrt(probability * (1 - probability) / len(of_group))
            assert abs(of_group.mean() - probability) <= 4 * deviation, (name, value)
    assert abs(group.mean() - 0.5) <= 4 * np.sqrt(0.25 / COUNT)
    for value in range(3):
        assert abs((column(table, "skin") == value).mean() - 1 / 3) <= 4 * np.sqrt(2 / 9 / COUNT)


def test_only_associated_attributes_depend_on_the_group():
    table = labels(np.arange(COUNT), seed=3)
    for name in INDEPENDENT:
        assert dependence(column(table, "group"), column(table, name)) > 1e-4, name
    for name in DEFAULT_ASSOCIATIONS:
        assert dependence(column(table, "group"), column(table, name)) < 1e-12, name


def test_within_a_group_all_attributes_are_independent():
    table = labels(np.arange(COUNT), seed=4)
    for group in (0, 1):
        of_group = table[column(table, "group") == group]
        for i, first in enumerate(NAMES[1:], 1):
            for second in NAMES[i + 1 :]:
                assert dependence(column(of_group, first), column(of_group, second)) > 1e-5, (group, first, second)


def test_even_associations_remove_every_dependence():
    table = labels(np.arange(COUNT), seed=5, associations=EVEN)
    for name in NAMES[1:]:
        assert dependence(column(table, "group"), column(table, name)) > 1e-4, name


@pytest.mark.parametrize("name", DEFAULT_ASSOCIATIONS)
def test_a_greater_probability_changes_only_that_attribute_and_only_upwards(name):
    before = labels(np.arange(2_000), associations={name: (0.2, 0.3)})
    after = labels(np.arange(2_000), associations={name: (0.5, 0.3)})
    difference = after - before
    assert set(column(difference, name)) == {0, 1}
    assert not column(difference, name)[column(before, "group") == 1].any()
    assert not np.delete(difference, find(ATTRIBUTES, name), axis=1).any()


def with_value(indices, *, attribute, value, seed=0, associations=None, size=32):
    """The images of `generate` with one attribute set to one value and everything else unchanged, and their labels."""
    column = find(ATTRIBUTES, attribute)
    changed = labels(indices, seed=seed, associations=associations)
    changed[:, column] = ATTRIBUTES[column].index(value)
    return render(changed, indices, seed=seed, size=size), changed


# Rows and columns that may change at 32x32, from the drawing's proportions and the range of the poses.
REGIONS = {
    "group": (slice(14, 29), slice(4, 28)),
    "beard": (slice(12, 29), slice(4, 28)),
    "glasses": (slice(7, 19), slice(6, 26)),
    "lipstick": (slice(15, 26), slice(9, 23)),
    "smile": (slice(15, 26), slice(9, 23)),
    "hair": (slice(0, 32), slice(2, 30)),
}


@pytest.mark.parametrize("name", REGIONS)
def test_a_flip_changes_its_region_and_nothing_else(name):
    attribute = ATTRIBUTES[find(ATTRIBUTES, name)]
    first, second = (with_value(np.arange(400), attribute=name, value=value, seed=6)[0] for value in attribute.values)
    change = np.abs(first.astype(int) - second).max(axis=(3))
    assert (change[:, *REGIONS[name]].max(axis=(1, 2)) > 20).all()  # grey levels: it shows in every image
    change[:, *REGIONS[name]] = 0
    assert not change.any()


@pytest.mark.parametrize("size", [32, 64])
def test_background_and_skin_flips_leave_each_other_alone(size):
    images = {
        (name, value): with_value(np.arange(100), attribute=name, value=value, size=size)[0]
        for name, value in [("background", "cool"), ("background", "warm"), ("skin", "light"), ("skin", "dark")]
    }
    face, corner = (slice(None), slice(size // 2 - 2, size // 2 + 2), slice(size // 2 - 2, size // 2 + 2)), (slice(None), 0, 0)
    cool, warm, light, dark = (image.astype(int) for image in images.values())
    np.testing.assert_array_equal(cool[face], warm[face])
    np.testing.assert_array_equal(light[corner], dark[corner])
    assert (np.abs(cool[corner] - warm[corner]).max(axis=-1) > 40).all()
    assert (np.abs(light[face] - dark[face]).max(axis=(1, 2, 3)) > 40).all()


def test_a_changed_image_is_the_same_where_it_already_has_the_value():
    images, table = generate(np.arange(60), seed=7, associations=EVEN)
    for attribute in ATTRIBUTES:
        changed, changed_table = with_value(
            np.arange(60), attribute=attribute.name, value=attribute.values[1], seed=7, associations=EVEN
        )
        same = column(table, attribute.name) == 1
        np.testing.assert_array_equal(changed[same], images[same])
        assert (changed[~same] != images[~same]).any(axis=(1, 2, 3)).all()
        assert (column(changed_table, attribute.name) == 1).all()
        position = find(ATTRIBUTES, attribute.name)
        np.testing.assert_array_equal(np.delete(changed_table, position, 1), np.delete(table, position, 1))


@pytest.mark.parametrize("size", [16, 32, 64])
def test_every_size_shows_the_same_faces(size):
    large = generate(np.arange(40), size=128)[0].astype(float)
    block = 128 // size
    averaged = large.reshape(40, size, block, size, block, 3).mean(axis=(2, 4))
    drawn = generate(np.arange(40), size=size)[0]
    assert np.abs(averaged - drawn).mean() < 1 + 80 / size  # grey levels: the noise, and edges as soft as pixels are large
    shifted = np.abs(averaged[:, :, 1:] - drawn[:, :, :-1]).mean()  # what an offset of one pixel would give
    assert np.abs(averaged - drawn).mean() < shifted / 2


def features(images):
    """What any of the attributes shows in: colours, redness around the mouth, and edges whatever their sign."""
    colours = images.astype(np.float32) / 255
    redness = (colours[..., 0] - colours[..., 1])[:, 16:25, 9:23]
    edges = [np.abs(np.diff(colours, axis=axis)).sum(-1) ** 0.5 for axis in (1, 2)]
    parts = [part.reshape(len(images), -1) for part in (colours, redness, *edges)]
    return np.concatenate([part / np.sqrt(part.var(axis=0).sum()) for part in parts], axis=1)


def test_every_attribute_is_recoverable_without_the_help_of_associations():
    images, table = generate(np.arange(3_000), seed=8, associations=EVEN)
    similarity = rbf_kernel(features(images), gamma=0.25)
    train, test = slice(0, 2_000), slice(2_000, None)
    for name in NAMES:
        y = column(table, name)
        classifier = SVC(C=10, kernel="precomputed").fit(similarity[train, train], y[train])
        accuracy = classifier.score(similarity[test, train], y[test])
        assert accuracy > 0.97, (name, accuracy)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 15}, "size.*16 to 128.*15"),
        ({"size": 129}, "size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**64}, "seed"),
        ({"indices": np.array([3, -2])}, "indices.*-2"),
        ({"associations": {"smile": (0.1, 0.2)}}, "hair.*smile"),
        ({"associations": {"hair": (0.1, 1.2)}}, "hair.*1.2"),
        ({"associations": {"hair": (0.1, float("nan"))}}, "hair"),
        ({"associations": {"hair": (0.1,)}}, "hair"),
    ],
)
def test_errors_name_the_argument(arguments, message):
    with pytest.raises(InputError, match=message):
        generate(**{"indices": np.arange(2), **arguments})


def test_labels_that_do_not_fit_are_errors():
    table = labels(np.arange(2))
    for wrong in (table + 3, table - 3, table[:, 1:], table[:1]):
        with pytest.raises(InputError, match="labels"):
            render(wrong, np.arange(2))
