"""Retention and associated parity equal known values, with the floor given by chance alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom
from sklearn.metrics import accuracy_score, recall_score

from jaxdiff import InputError
from jaxdiff.data import embedded
from jaxdiff.data.attributes import Attribute, find
from jaxdiff.fairness.associated import associated_parity, measure_retention, total_variation
from jaxdiff.fairness.attribute_classifiers import balancing_weights, predict_attributes, train_attribute_classifiers
from jaxdiff.fairness.confusion import Confusion
from jaxdiff.fairness.tradeoff import TradeOff, choose_trade_off
from jaxdiff.image_classifier import ClassifierTraining, train_image_classifier

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

BEARD = Attribute("beard", ("no", "yes"))
SKIN = Attribute("skin", ("light", "medium", "dark"))
EYES = Attribute("eyes", ("brown", "blue", "green", "grey"))
QUICK = ClassifierTraining(steps=120, batch=32, rate=5e-3, widths=(8, 16), flip=False)
SEEDS = st.integers(0, 2**31)


def two_groups(first, second):
    """A column of an attribute of two values: the numbers of images with each value, by group; and the groups."""
    labels = np.concatenate([np.repeat([0, 1], first), np.repeat([0, 1], second)])
    return labels[:, None], np.repeat([0, 1], [sum(first), sum(second)])


@given(st.integers(2, 4), SEEDS)
def test_retention_is_accuracy_overall_and_recall_in_each_group(values, seed):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(values), rng.integers(values, size=30)])
    predictions = rng.integers(values, size=(2, len(labels)))
    answer = measure_retention(predictions, labels, values=values)
    np.testing.assert_allclose(answer.overall, np.mean([accuracy_score(labels, p) for p in predictions]))
    recalls = [recall_score(labels, p, average=None) for p in predictions]
    np.testing.assert_allclose(answer.groups.rate, np.mean(recalls, axis=0))
    assert answer.interval[0] <= answer.overall <= answer.interval[1]


@given(st.integers(2, 4), SEEDS)
def test_the_difference_is_the_largest_total_variation_and_of_two_values_that_of_their_rates(groups, seed):
    rng = np.random.default_rng(seed)
    group = np.concatenate([np.arange(groups), rng.integers(groups, size=60)])
    labels = np.stack([rng.integers(2, size=len(group)), rng.integers(4, size=len(group))], axis=1)
    answer = associated_parity(labels, group, [BEARD, EYES], values=groups, replicates=2)
    p = np.array([labels[group == g, 0].mean() for g in range(groups)])
    eyes = np.array([[np.mean(labels[group == g, 1] == value) for value in range(4)] for g in range(groups)])
    np.testing.assert_allclose(answer.rates["beard"][:, 1], p)
    np.testing.assert_allclose(answer.rates["eyes"], eyes)
    # Of all events that four values make, the distance is the largest difference of probability.
    events = [[bool(event >> value & 1) for value in range(4)] for event in range(16)]
    distance = max(abs(eyes[a][e].sum() - eyes[b][e].sum()) for a in range(groups) for b in range(a) for e in events)
    np.testing.assert_allclose(answer.differences.value, [p.max() - p.min(), distance], atol=1e-12)
    np.testing.assert_allclose(answer.largest.value, max(p.max() - p.min(), distance), atol=1e-12)
    np.testing.assert_allclose(answer.mean.value, (p.max() - p.min() + distance) / 2, atol=1e-12)
    np.testing.assert_array_equal(answer.count, np.bincount(group))


def test_the_floor_is_the_exact_mean_difference_of_random_groups():
    labels, groups = two_groups([70, 30], [120, 80])
    answer = associated_parity(labels, groups, [BEARD], values=2, replicates=20000)
    null = hypergeom(300, 110, 100)  # how many of the 110 images with a beard fall into the group of 100
    drawn = np.arange(101)
    difference, chance = abs(drawn / 100 - (110 - drawn) / 200), null.pmf(drawn)
    np.testing.assert_allclose(answer.differences.floor, [difference @ chance], rtol=0.02)
    assert chance[difference > answer.differences.critical + 1e-9].sum() <= 0.06
    assert chance[difference >= answer.differences.critical - 1e-9].sum() >= 0.04
    assert answer.largest.floor == answer.mean.floor == answer.differences.floor[0]


def test_equal_groups_exceed_the_critical_value_as_often_as_it_says(rng):
    exceeded = np.zeros(4)
    for trial in range(300):
        labels = np.stack([rng.random(400) < 0.3, rng.integers(3, size=400)], axis=1).astype(int)
        answer = associated_parity(labels, np.arange(400) % 2, [BEARD, SKIN], values=2, replicates=200, seed=trial)
        for i, part in enumerate((answer.differences, answer.largest, answer.mean)):
            exceeded[[slice(0, 2), 2, 3][i]] += part.value > part.critical
    assert ((exceeded / 300 >= 0.01) & (exceeded / 300 <= 0.09)).all()  # 5 %, give or take three standard errors


def test_the_interval_of_a_large_difference_is_that_of_two_proportions():
    labels, groups = two_groups([280, 120], [60, 540])
    answer = associated_parity(labels, groups, [BEARD], values=2, replicates=4000)
    deviation = np.sqrt(0.3 * 0.7 / 400 + 0.9 * 0.1 / 600)
    np.testing.assert_allclose(np.diff(answer.differences.interval), 2 * 1.96 * deviation, rtol=0.06)
    assert answer.differences.interval[0, 0] < 0.6 < answer.differences.interval[0, 1]


def test_attributes_that_go_together_do_not_narrow_the_interval_or_the_floor_of_their_mean(rng):
    one, groups = rng.integers(2, size=(300, 1)), np.arange(300) % 2
    twins = [Attribute(f"beard {i}", ("no", "yes")) for i in range(4)]
    alone, together = (associated_parity(np.tile(one, n), groups, twins[:n], values=2) for n in (1, 4))
    np.testing.assert_allclose(together.mean.interval, alone.mean.interval, atol=1e-12)
    np.testing.assert_allclose(
        [together.mean.floor, together.mean.critical], [alone.mean.floor, alone.mean.critical], atol=1e-12
    )


def test_confusions_are_undone_in_every_group(rng):
    groups = np.repeat([0, 1], 20000)
    truth = (rng.random(40000) < np.where(groups, 0.7, 0.2)).astype(int)
    predicted = np.where(rng.random(40000) < np.where(truth, 0.75, 0.9), truth, 1 - truth)
    table = Confusion(np.array([[9000, 1000], [2500, 7500]]))
    plain = associated_parity(predicted[:, None], groups, [BEARD], values=2, replicates=200)
    corrected = associated_parity(predicted[:, None], groups, [BEARD], values=2, confusions={"beard": table}, replicates=200)
    np.testing.assert_allclose(plain.differences.value, 0.65 * 0.5, atol=0.02)  # sensitivity + specificity - 1
    np.testing.assert_allclose(corrected.differences.value, 0.5, atol=0.03)
    np.testing.assert_allclose(corrected.rates["beard"][:, 1], [0.2, 0.7], atol=0.02)
    assert corrected.differences.interval[0, 0] < 0.5 < corrected.differences.interval[0, 1]
    np.testing.assert_allclose(corrected.differences.floor, plain.differences.floor / 0.65, rtol=0.2)
    assert corrected.near_singular == ()
    blurred = {"beard": Confusion(np.array([[52, 48], [48, 52]]))}
    assert associated_parity(predicted[:, None], groups, [BEARD], values=2, confusions=blurred).near_singular == ("beard",)


def test_parity_that_cannot_be_measured_is_refused():
    labels, groups = two_groups([2, 2], [1, 3])
    with pytest.raises(InputError, match=r"`groups` must have every group in 0..2, got none of \[2\]"):
        associated_parity(labels, groups, [BEARD], values=3)
    with pytest.raises(InputError, match="`labels` must have a column for each of 2 attributes"):
        associated_parity(labels, groups, [BEARD, SKIN], values=2)
    with pytest.raises(InputError, match=r"entries from 0 to below \[2\]"):
        associated_parity(labels + 1, groups, [BEARD], values=2)
    for name, table in (("hair", np.eye(2, dtype=int)), ("beard", np.eye(3, dtype=int))):
        with pytest.raises(InputError, match=f"`confusions` takes matrices over the values of beard, got another for '{name}'"):
            associated_parity(labels, groups, [BEARD], values=2, confusions={name: Confusion(table)})


@given(SEEDS)
def test_the_weights_of_one_pair_are_the_shares_under_independence_over_those_there_are(seed):
    rng = np.random.default_rng(seed)
    cells = np.concatenate([np.arange(6), rng.integers(6, size=60)])
    labels = np.stack([cells // 3, cells % 3], axis=1)
    joint = np.bincount(cells, minlength=6).reshape(2, 3) / len(cells)
    expected = np.outer(joint.sum(1), joint.sum(0)) / joint
    weights = balancing_weights(labels, [BEARD, SKIN], [("beard", "skin")])
    np.testing.assert_allclose(weights, expected[labels[:, 0], labels[:, 1]] / len(cells), rtol=1e-6)


def test_the_group_becomes_independent_of_every_associated_attribute_at_once():
    labels = embedded.labels(np.arange(4000))
    names = list(embedded.DEFAULT_ASSOCIATIONS)
    weights = balancing_weights(labels, embedded.ATTRIBUTES, [("group", name) for name in names])
    group = labels[:, 0]
    np.testing.assert_allclose(weights.sum(), 1)
    np.testing.assert_allclose(weights @ group, group.mean(), atol=1e-8)
    for name in names:
        value = labels[:, find(embedded.ATTRIBUTES, name)]
        assert abs(value[group == 1].mean() - value[group == 0].mean()) > 0.2
        np.testing.assert_allclose(weights @ (group * value), group.mean() * value.mean(), atol=1e-8)


def test_values_that_never_meet_or_pairs_that_contradict_cannot_be_balanced():
    labels = np.array([[0, 0], [0, 1], [1, 0], [1, 1], [0, 2]])
    with pytest.raises(InputError, match="no image has beard yes and skin dark"):
        balancing_weights(labels, [BEARD, SKIN], [("beard", "skin")])
    # The third attribute is the other two's sum modulo 2 but for its first value: all pairs meet, never independently.
    triples = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1], [1, 0, 0], [0, 1, 0]])
    attributes = [Attribute(name, ("no", "yes")) for name in "abc"]
    with pytest.raises(InputError, match="`labels` cannot be balanced: no weights make all of"):
        balancing_weights(triples, attributes, [("a", "b"), ("a", "c"), ("b", "c")])


def patches(count, *, follow, seed):
    """Images whose left half faintly shows their group and whose right half plainly shows another attribute.

    The attribute is the group with probability `follow`.
    """
    rng = np.random.default_rng(seed)
    group = np.arange(count) % 2
    labels = np.stack([group, np.where(rng.random(count) < follow, group, 1 - group)], axis=1)
    images = rng.normal(128, 30, (count, 16, 16, 3))
    images[:, :, :8] += 20 * (2 * labels[:, 0, None, None, None] - 1)
    images[:, :, 8:] += 60 * (2 * labels[:, 1, None, None, None] - 1)
    return np.clip(images, 0, 255).astype(np.uint8), labels


def test_a_balanced_classifier_reads_the_group_where_an_ordinary_one_reads_what_follows_it():
    attributes = [Attribute("group", ("square", "round")), BEARD]
    images, labels = patches(1200, follow=0.9, seed=0)
    held_out = patches(400, follow=0.5, seed=1)
    classifiers = train_attribute_classifiers(images, labels, *held_out, attributes, group="group", training=QUICK)
    ordinary = train_image_classifier(images, labels[:, 0], values=2, seed=0, training=QUICK).predict(held_out[0])
    predictions = predict_attributes(classifiers, held_out[0])
    against = held_out[1][:, 0] != held_out[1][:, 1]
    assert (predictions == held_out[1]).mean(axis=0).min() > 0.9
    assert (predictions[against, 0] == held_out[1][against, 0]).mean() > (ordinary == held_out[1][:, 0])[against].mean() + 0.1
    for column, of_attribute in enumerate(classifiers):
        assert of_attribute.attribute == attributes[column]
        correct = predictions[:, column] == held_out[1][:, column]
        values = [correct[held_out[1][:, column] == value].mean() for value in (0, 1)]
        np.testing.assert_allclose(of_attribute.confusion.accuracy, values)
    # Nine in ten images weigh 5/9 and the others 5 times the mean: Kish's count is 1 / E[w²], here 1 / (25/90 + 2.5).
    np.testing.assert_allclose(classifiers[1].effective_count, 1200 / (25 / 90 + 2.5), rtol=0.1)


def test_labels_that_do_not_fit_are_refused_before_any_training():
    images, labels = patches(40, follow=0.5, seed=0)
    attributes = [Attribute("group", ("square", "round")), BEARD]
    with pytest.raises(InputError, match="unknown attribute 'gender'"):
        train_attribute_classifiers(images, labels, images, labels, attributes, group="gender")
    with pytest.raises(InputError, match="`labels` must have a row for each of 40 images and a column for each of 1"):
        train_attribute_classifiers(images, labels, images, labels, attributes[:1], group="group")
    with pytest.raises(InputError, match="`held_out_labels` must have a row for each of 40 images"):
        train_attribute_classifiers(images, labels, images, labels[:9], attributes, group="group")


POINTS = [
    TradeOff(setting=0.0, dependence=0.45, disparity=0.4, retention=0.99),
    TradeOff(setting=0.3, dependence=0.2, disparity=0.3, retention=0.9),
    TradeOff(setting=0.5, dependence=0.25, disparity=0.1, retention=0.85),
    TradeOff(setting=0.6, dependence=0.25, disparity=0.1, retention=0.8),
    TradeOff(setting=0.9, dependence=0.0, disparity=0.0, retention=0.55),
]


def test_the_fairest_point_that_retains_enough_is_chosen():
    assert choose_trade_off(POINTS, objective="independence", retain=0.8).setting == 0.3
    assert choose_trade_off(POINTS, objective="parity", retain=0.8).setting == 0.5  # as fair as 0.6, and retains more
    assert choose_trade_off(POINTS, objective="parity", retain=0.55).setting == 0.9
    assert choose_trade_off(POINTS, objective="parity", retain=0.95).setting == 0.0


def test_where_no_point_retains_enough_the_largest_retention_is_reported():
    with pytest.raises(InputError, match=r"retention of 0.95; the largest is 0.9, at tau 0.3"):
        choose_trade_off(POINTS[1:], retain=0.95)
    with pytest.raises(InputError, match="`objective` must be one of independence, parity, got 'quality'"):
        choose_trade_off(POINTS, objective="quality")
    with pytest.raises(InputError, match="`retain` must be a share within 0 and 1, got 80"):
        choose_trade_off(POINTS, retain=80.0)
    for points in ([], [TradeOff(0.1, float("nan"), 0.1, 0.9)]):
        with pytest.raises(InputError, match="`points` must be at least one, none with dependence or retention NaN"):
            choose_trade_off(points)


def test_the_distance_of_three_groups_is_that_of_the_two_farthest():
    assert total_variation(np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]])) == pytest.approx(0.8)


def test_images_that_are_all_alike_are_at_parity_and_so_are_they_by_chance():
    labels, groups = two_groups((30, 0), (20, 0))
    answer = associated_parity(labels, groups, [BEARD], values=2, replicates=20)
    for part in (answer.largest, answer.mean):
        assert part.value == part.floor == part.critical == 0
