"""Memorised images are identified: ratios by brute force, planted copies, duplicates, mirror images and the control."""

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist
from scipy.stats import binom

from jaxdiff.errors import InputError
from jaxdiff.safety import duplicates as module
from jaxdiff.safety.duplicates import find_duplicates
from jaxdiff.safety.memorization import closeness, images_at_risk, measure_memorization, near_distance
from jaxdiff.statistics import newcombe_interval, wilson_interval


def images(rng, count, size=6):
    """Images that are neither near to one another nor equally far: a smooth part of its own strength, and noise."""
    shape = (count, size, size, 3)
    waves = rng.normal(0, 60, (count, 1, 1, 3)) + np.linspace(-1, 1, size)[:, None] * rng.normal(0, 40, (count, 1, 1, 3))
    return np.clip(128 + waves + rng.normal(0, 4, shape), 0, 255).astype(np.uint8)


def flat(x):
    return x.reshape(len(x), -1).astype(float)


def test_ratios_are_those_of_brute_force(rng):
    x, train = images(rng, 40), images(rng, 90)
    brute = np.sort(cdist(flat(x), flat(train)), axis=1) / np.sqrt(108)
    found = closeness(x, train, find_duplicates(train), neighbours=20, alpha=0.4)
    np.testing.assert_allclose(found.distance, brute[:, 0], rtol=1e-12)
    np.testing.assert_allclose(found.ratio, brute[:, 0] / (0.4 * brute[:, :20].mean(axis=1)), rtol=1e-12)
    np.testing.assert_allclose(found.gap, brute[:, 0] / brute[:, 1], rtol=1e-12)
    assert (found.nearest == cdist(flat(x), flat(train)).argmin(axis=1)).all()


def test_the_ratio_has_its_closed_form():
    """Grey images at levels 10, 20, ..., 60 from black: distances are levels."""
    train = np.broadcast_to(np.arange(10, 70, 10, dtype=np.uint8)[:, None, None, None], (6, 4, 4, 3)).copy()
    found = closeness(np.zeros((1, 4, 4, 3), np.uint8), train, find_duplicates(train), neighbours=5, alpha=0.5)
    assert found.distance[0] == 10 and found.gap[0] == 0.5
    assert found.ratio[0] == pytest.approx(10 / (0.5 * 30))


def test_planted_copies_are_found_and_fresh_draws_are_not(rng):
    train, held_out = images(rng, 600), images(rng, 300)
    copied = rng.permutation(600)[:30]
    noisy = np.clip(train[copied].astype(int) + rng.integers(-2, 3, train[copied].shape), 0, 255).astype(np.uint8)
    fresh = images(rng, 270)
    same = find_duplicates(train)
    control = closeness(held_out, train, same)
    planted = closeness(np.concatenate([noisy, fresh]), train, same)
    found = measure_memorization(planted, control)
    assert found.count == (300, 300)
    assert (planted.ratio[:30] < 1).all() and (planted.nearest[:30] == copied).all() and (planted.gap[:30] < 1 / 3).all()
    assert found.memorised.excess == pytest.approx(0.1, abs=0.04) and found.memorised.excess_interval[0] > 0.03
    assert found.isolated.share == pytest.approx(0.1, abs=0.02) and found.isolated.held_out < 0.02
    assert set(copied) <= set(images_at_risk([planted])) and found.distance[0] < found.held_out_distance[0]
    without = measure_memorization(closeness(fresh, train, same), control)
    assert without.memorised.excess_interval[0] < 0 < without.memorised.excess_interval[1]
    np.testing.assert_allclose(without.distance[1:], without.held_out_distance[1:], rtol=0.4)


def test_duplicates_would_hide_a_copy_and_are_counted_as_one(rng):
    """60 equal and nearly equal images among 200: a copy's 50 nearest are then all as near as it."""
    train = images(rng, 200)
    for i in range(140, 200):
        train[i] = train[5]
        train[i, 0, 0, 0] = train[5, 0, 0, 0] ^ (i % 2)
    copy = np.clip(train[5:6].astype(int) + rng.choice([-3, 3], train[5:6].shape), 0, 255).astype(np.uint8)
    near = near_distance(train, images(rng, 200))
    same = find_duplicates(train, distance=near)
    assert (same.exact, same.distinct, same.largest) == (59, 140, 61)
    assert same.groups[5] == 5 and (same.groups[140:] == 5).all() and (same.groups[:140] == np.arange(140)).all()
    hidden = closeness(copy, train, type(same)(np.arange(200), 0, 0.0))
    assert hidden.ratio[0] == pytest.approx(2, rel=0.01) and hidden.gap[0] > 0.99
    found = closeness(copy, train, same)
    brute = np.sort(np.append(cdist(flat(copy), flat(train[:140]))[0, np.arange(140) != 5],
                              cdist(flat(copy), flat(train[same.groups == 5])).min()))[:50]  # fmt: skip
    assert found.ratio[0] == pytest.approx(brute[0] / (0.5 * brute.mean())) and found.ratio[0] < 0.5
    assert found.gap[0] < 1 / 3 and same.groups[found.nearest[0]] == 5


@pytest.mark.parametrize("flips", [False, True])
@pytest.mark.parametrize("distance", [0.0, 6.0, 12.0])
def test_duplicates_are_the_components_of_brute_force(rng, monkeypatch, flips, distance):
    monkeypatch.setattr(module, "ROWS", 37)
    monkeypatch.setattr(module, "PAIRS", 17)
    x = images(rng, 300)
    x[200:240] = x[100:140]
    x[240:260] = x[:20, :, ::-1]
    x[260:280] = np.clip(x[20:40].astype(int) + rng.integers(-9, 10, x[20:40].shape), 0, 255)
    brute = cdist(flat(x), flat(x), "sqeuclidean")
    if flips:
        brute = np.minimum(brute, cdist(flat(x), flat(x[:, :, ::-1]), "sqeuclidean"))
    labels = connected_components(brute <= distance**2 * 108)[1]
    first = np.array([np.flatnonzero(labels == label)[0] for label in labels])
    found = find_duplicates(x, distance=distance, flips=flips)
    np.testing.assert_array_equal(found.groups, first)
    np.fill_diagonal(brute, 1)
    assert found.exact == (60 if flips else 40)
    assert found.removed == 300 - len(set(labels)) >= found.exact and found.largest == np.bincount(labels).max()


def test_the_distance_of_duplicates_holds_its_end(monkeypatch):
    """Grey images 3 levels apart are at distance 3, in other blocks too."""
    monkeypatch.setattr(module, "ROWS", 1)
    x = np.broadcast_to(np.array([10, 13, 17], np.uint8)[:, None, None, None], (3, 5, 7, 3)).copy()
    assert find_duplicates(x, distance=3.0).groups.tolist() == [0, 0, 2]
    assert find_duplicates(x, distance=2.999).groups.tolist() == [0, 1, 2]
    assert find_duplicates(x, distance=4.0).groups.tolist() == [0, 0, 0]  # chained


def test_mirrored_copies_are_found_where_mirror_images_count(rng):
    train = images(rng, 100)
    train[..., 0] = np.clip(train[..., 0] + np.arange(6) * 20, 0, 255)  # lit from the right
    copies = train[:9, :, ::-1]
    found, blind = (closeness(copies, train, find_duplicates(train), flips=flips) for flips in (True, False))
    assert not found.distance.any() and (found.nearest == np.arange(9)).all() and found.mirrored.all()
    assert blind.distance.min() > 5 and not blind.mirrored.any()


def test_a_held_out_image_that_is_a_training_image_is_no_control(rng):
    train, held_out, samples = images(rng, 100), images(rng, 30), images(rng, 20)
    same = find_duplicates(train)
    without = closeness(held_out, train, same)
    held_out[:4] = train[:4]
    with_shared = closeness(held_out, train, same)
    found = measure_memorization(closeness(samples, train, same), with_shared)
    assert found.shared == 4 and found.count == (20, 20)
    assert found.held_out_distance == tuple(np.quantile(without.distance[4:24], [0, 0.01, 0.05, 0.25, 0.5]))
    near = near_distance(train, held_out)
    assert near == pytest.approx(np.quantile(without.distance[4:], 0.01) / 2)


def test_the_images_at_risk_are_those_nearest_to_memorised_ones_the_surest_first(rng):
    train = images(rng, 100)
    near = [np.clip(train[i].astype(int) + rng.choice([-noise, noise], train[i].shape), 0, 255) for i, noise in
            ((17, 3), (4, 4), (17, 2), (60, 1))]  # fmt: skip
    first, second = (closeness(np.array(each, np.uint8), train, find_duplicates(train)) for each in (near[:2], near[2:]))
    assert max(first.ratio.max(), second.ratio.max()) < 1
    every = [(ratio, index) for each in (first, second) for ratio, index in zip(each.ratio, each.nearest, strict=True)]
    expected = list(dict.fromkeys(index for _, index in sorted(every)))
    assert images_at_risk([first, second]).tolist() == expected and expected == [60, 17, 4]
    far = closeness(np.random.default_rng(1).integers(0, 256, (5, 6, 6, 3), np.uint8), train, find_duplicates(train))
    assert len(images_at_risk([far])) == 0 == len(images_at_risk([]))


def test_newcombes_interval_is_that_of_his_paper():
    """Newcombe 1998, table II, method 10: examples (a), (b), (d) and (h)."""
    for (a, m), (b, n), low, high in [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ]:
        assert newcombe_interval((a / m, b / n), (m, n)) == pytest.approx((low, high), abs=5e-5)


def test_newcombes_interval_covers(rng):
    trials, counts, shares = 2000, (200, 150), (0.06, 0.02)
    missed = 0
    for a, b in zip(rng.binomial(counts[0], shares[0], trials), rng.binomial(counts[1], shares[1], trials), strict=True):
        low, high = newcombe_interval((a / counts[0], b / counts[1]), counts)
        missed += not low <= 0.04 <= high
    assert missed <= binom.ppf(0.999, trials, 0.05)
    assert missed > 0.3 * 0.05 * trials


def test_shares_carry_their_intervals(rng):
    train = images(rng, 100)
    same = find_duplicates(train)
    found = measure_memorization(closeness(train[:20], train, same), closeness(images(rng, 40), train, same))
    each = found.memorised
    assert each.share == 1 and each.excess == 1 - each.held_out and found.count == (20, 20)
    assert each.interval == pytest.approx(wilson_interval(np.array(1.0), np.array(20)))
    assert each.excess_interval == newcombe_interval((1.0, each.held_out), (20, 20))


def test_what_cannot_be_measured_is_refused(rng):
    train = images(rng, 60)
    train[30:] = train[:30]
    with pytest.raises(InputError, match="`neighbours`, 50; got 60 images, of which 30 are duplicates within 0"):
        closeness(images(rng, 3), train, find_duplicates(train))
    with pytest.raises(InputError, match="at least 2 and `alpha` above 0, got 1 and 0.5"):
        closeness(images(rng, 3), train, find_duplicates(train), neighbours=1)
    with pytest.raises(InputError, match="got 2 and 0.0"):
        closeness(images(rng, 3), train, find_duplicates(train), neighbours=2, alpha=0.0)
    with pytest.raises(InputError, match="must be of `train`, got those of 60 images for 59"):
        closeness(images(rng, 3), train[1:], find_duplicates(train))
    with pytest.raises(InputError, match="all 5 are training images"):
        near_distance(train, train[:5])
    with pytest.raises(InputError, match="`distance` at least 0, got 60 and -1"):
        find_duplicates(train, distance=-1.0)
    near = closeness(train[:3], train, find_duplicates(train), neighbours=2)
    with pytest.raises(InputError, match="got 3 and 3, of which 0 are no training images"):
        measure_memorization(near, near)
    with pytest.raises(InputError, match="at least 1"):
        newcombe_interval((0.0, 0.0), (1, 0))
