"""Priors: their moments, the conditions that they state, and how these hold."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
import scipy.signal

from jaxdiff import priors
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.guidance import constrained
from jaxdiff.priors import PRIORS, masks
from jaxdiff.process import bridge_ve
from jaxdiff.solvers import DDIM, HybridHeun, sample

LENGTH, FEATURES = 24, 4
KEYS = jax.random.split(jax.random.key(0), 20_000)
SHAPE = (LENGTH, FEATURES)


@pytest.fixture(scope="module")
def rows():
    """Smooth series in [-1, 1] with another mean and spread for each time and feature."""
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(size=(500, *SHAPE)), 1) * np.array([0.05, 0.08, 0.1, 0.03])
    return np.clip(walk + np.linspace(-0.4, 0.3, LENGTH)[:, None], -1, 1)


def many(prior):
    return np.asarray(jax.jit(jax.vmap(lambda key: prior.draw(key, SHAPE).end))(KEYS), np.float64)


def test_unpaired_priors_have_the_moments_that_they_state(rows):
    for prior, mean, std in (
        (priors.Normal.fit(rows), 0, 1),
        (priors.Uniform.fit(rows), 0, 1 / np.sqrt(3)),
        (priors.Moments.fit(rows), rows.mean(0), rows.std(0)),
    ):
        drawn = many(prior)
        np.testing.assert_allclose(drawn.mean(0), np.broadcast_to(mean, SHAPE), atol=0.035)
        np.testing.assert_allclose(drawn.std(0), np.broadcast_to(std, SHAPE), rtol=0.035)
        correlation = np.corrcoef(drawn[:, 3, 0], drawn[:, 4, 0])[0, 1]
        assert abs(correlation) < 0.03


def test_a_gaussian_process_adds_variances_and_counts_its_length_in_steps(rows):
    length, variance = 3.0, 0.5
    prior = priors.GaussianProcess.fit(rows, length=length, variance=variance)
    steps, std = np.arange(LENGTH), rows.std(0)
    kernel = np.exp(-((steps[:, None] - steps) ** 2) / (2 * length**2))
    covariance = variance * kernel + np.diag(std[:, 0] ** 2)
    drawn = many(prior)
    np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=0.03)
    np.testing.assert_allclose(np.cov(drawn[..., 0].T), covariance, atol=0.03)
    # the released code: a length of the standard deviation of all data, and std where std² belongs
    released = variance * np.exp(-((steps[:, None] - steps) ** 2) / (2 * rows.std() ** 2)) + np.diag(std[:, 0])
    assert abs(released[5, 6] - covariance[5, 6]) > 0.3
    assert abs(released[5, 5] - covariance[5, 5]) > 0.1


def test_trends_are_those_of_scipy_and_numpy(rows):
    series, steps = rows[0], np.arange(LENGTH)
    expected = {
        "butterworth": scipy.signal.filtfilt(*scipy.signal.butter(4, 2 / 7), series, axis=0),
        "polynomial": np.stack([np.polyval(np.polyfit(steps, each, 3), steps) for each in series.T], 1),
        "linear": np.stack([np.polyval(np.polyfit(steps, each, 1), steps) for each in series.T], 1),
    }
    for kind, trend in expected.items():
        prior = priors.Trend.fit(rows, kind=kind)
        found = prior.pair(KEYS[0], jnp.asarray(series, jnp.float32))
        np.testing.assert_allclose(found.end, np.clip(trend, -1, 1), atol=2e-5)
        assert found.known is None
        # what is drawn is the trend of a training series
        distances = [np.abs(prior.draw(key, SHAPE).end - prior.ends).max((1, 2)).min() for key in KEYS[:3]]
        assert max(distances) == 0


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_interpolation_goes_through_the_observed_values(rows, kind):
    prior = priors.Imputation.fit(rows, kind=kind)
    rng, steps = np.random.default_rng(4), np.arange(LENGTH)
    known = rng.random(SHAPE) < 0.4
    known[:, 0] = False
    known[[4, 11], 0] = True  # two known values: a line
    known[:, 1] = False
    known[7, 1] = True  # one: constant
    known[:, 2] = False  # none: the middle of the range
    values = np.where(known, rows[3], np.nan)
    found = prior.given(jnp.asarray(values), jnp.asarray(known))
    np.testing.assert_array_equal(found.known, known)
    np.testing.assert_array_equal(np.asarray(found.end)[known], values[known].astype(np.float32))
    np.testing.assert_array_equal(found.end[:, 2], 0)
    for feature in (0, 1, 3):
        places = steps[known[:, feature]]
        line = np.interp(steps, places, values[places, feature])
        if kind == "linear" or len(places) < 3:
            np.testing.assert_allclose(found.end[:, feature], line, atol=1e-6)
            continue
        for step in steps:
            before, after = places[places <= step], places[places >= step]
            if not len(before) or not len(after):
                np.testing.assert_allclose(found.end[step, feature], line[step], atol=1e-6)
                continue
            third = after[after > after[0]][:1] if (after > after[0]).any() else before[before < before[-1]][-1:]
            nodes = np.unique(np.concatenate([before[-1:], after[:1], third]))
            if len(nodes) == 3:
                curve = scipy.interpolate.lagrange(nodes - step, values[nodes, feature])(0)
                np.testing.assert_allclose(found.end[step, feature], np.clip(curve, -1, 1), atol=2e-5)


def test_masks_miss_the_share_that_is_asked_for():
    keys = KEYS[:4000]
    each = {name: getattr(masks, name) for name in ("points", "runs", "past")}
    found = {name: np.asarray(jax.vmap(lambda key, make=make: make(key, SHAPE, 0.6))(keys)) for name, make in each.items()}
    for name, observed in found.items():
        assert abs(1 - observed.mean() - 0.6) < 0.03, name
        assert observed.any(1).all(), name
    assert (found["past"][:, :-1] >= found["past"][:, 1:]).all()
    long = np.asarray(jax.vmap(lambda key: masks.runs(key, (400, 1), 0.3))(keys[:200]))[..., 0]
    starts = (~long[:, 1:] & long[:, :-1]).sum()
    assert abs((~long).sum() / starts - 3) < 0.15  # the mean length of a run
    single = np.asarray(jax.vmap(lambda key: masks.points(key, (400, 1), 0.3))(keys[:200]))[..., 0]
    assert abs((~single).sum() / (~single[:, 1:] & single[:, :-1]).sum() - 1 / 0.7) < 0.05


def _wild(x, t, condition):
    """A network that knows nothing of its condition."""
    return 3 * jnp.sin(7 * x + 5 * t[:, None, None])


def _sampled(prior, count, end=None, known=None):
    bridge = bridge_ve(prior=prior)
    condition = BridgeCondition(end, known)
    return np.asarray(
        sample(
            constrained(_wild, prior), bridge, shape=SHAPE, solver=HybridHeun(3), key=jax.random.key(7), condition=condition,
            indices=range(count),
        )
    )  # fmt: skip


def test_observed_values_are_exact_in_every_sample(rows):
    for prior in (priors.Imputation.fit(rows), priors.FixedPoints.fit(rows)):
        pair = jax.vmap(prior.pair)(KEYS[:6], jnp.asarray(rows[:6], jnp.float32))
        x = _sampled(prior, 6, pair.end, pair.known)
        np.testing.assert_array_equal(x[pair.known], np.asarray(pair.end)[pair.known])
        np.testing.assert_array_equal(x[pair.known], rows[:6].astype(np.float32)[pair.known])
        assert not np.allclose(x[~pair.known], np.asarray(pair.end)[~pair.known])
        assert 0.02 < np.asarray(pair.known).mean() < 0.98


def test_extremes_hold_at_their_times(rows):
    prior = priors.Extremes.fit(rows)
    found = jax.vmap(prior.pair)(KEYS[:5], jnp.asarray(rows[:5], jnp.float32))
    x = _sampled(prior, 5, found.end, found.known)
    truth = rows[:5].astype(np.float32)
    np.testing.assert_array_equal(x.min(1), truth.min(1))
    np.testing.assert_array_equal(x.max(1), truth.max(1))
    lowest, highest = truth.argmin(1)[:, None], truth.argmax(1)[:, None]
    np.testing.assert_array_equal(np.take_along_axis(x, lowest, 1)[:, 0], truth.min(1))
    np.testing.assert_array_equal(np.take_along_axis(x, highest, 1)[:, 0], truth.max(1))


def test_prices_are_ordered_in_the_users_units():
    rng = np.random.default_rng(2)
    low, high = (50.0, 52.0, 40.0, 48.0, 0.0), (150.0, 180.0, 120.0, 155.0, 1e6)
    shown = np.concatenate([np.sort(rng.uniform(60, 110, (300, LENGTH, 4)), -1)[..., [1, 3, 0, 2]],
                            rng.uniform(0, 1e6, (300, LENGTH, 1))], -1)  # fmt: skip
    scale = lambda v: 2 * (v - np.array(low)) / (np.array(high) - np.array(low)) - 1  # noqa: E731
    prior = priors.OpenHighLowClose.fit(scale(shown), low=low, high=high)
    found = jax.vmap(prior.pair)(KEYS[:4], jnp.asarray(scale(shown[:4]), jnp.float32))
    unscale = lambda x: np.array(low) + (np.asarray(x, np.float64) + 1) / 2 * (np.array(high) - np.array(low))  # noqa: E731
    np.testing.assert_allclose(unscale(found.end)[..., :4], shown[:4, :, :1].repeat(4, -1), rtol=1e-5)
    moved = prior.project(jnp.asarray(rng.normal(size=(4, LENGTH, 5)), jnp.float32), found.end, found.known)
    opening, highest, lowest, close, _ = np.moveaxis(unscale(moved), -1, 0)
    np.testing.assert_allclose(opening, shown[:4, :, 0], rtol=1e-5)
    slack = 1e-4
    assert (lowest <= np.minimum(opening, close) + slack).all()
    assert (highest >= np.maximum(opening, close) - slack).all()
    again = prior.project(moved, found.end, found.known)
    np.testing.assert_allclose(again, moved, atol=1e-5)


def test_every_prior_comes_back_from_its_configuration(rows):
    for name, kind in PRIORS.items():
        prior = kind.fit(rows)
        again = priors.from_config(json.loads(json.dumps(prior.config())), prior.arrays())  # as a file has it
        for key in KEYS[:2]:
            old, new = prior.draw(key, SHAPE), again.draw(key, SHAPE)
            np.testing.assert_array_equal(old.end, new.end, err_msg=name)
        old, new = (each.pair(KEYS[0], jnp.asarray(rows[0], jnp.float32)) for each in (prior, again))
        np.testing.assert_array_equal(old.end, new.end, err_msg=name)
        assert kind.about and (old.known is not None) == (prior.exact)


def test_errors_name_what_they_got(rows):
    with pytest.raises(InputError, match="unknown prior 'wish'"):
        priors.from_config({"name": "wish"}, {})
    with pytest.raises(InputError, match="does not take"):
        priors.from_config({"name": "moments"}, {"mean": np.zeros(SHAPE)})
    for kind, settings in (
        (priors.GaussianProcess, {"length": 0.0}),
        (priors.GaussianProcess, {"variance": -1.0}),
        (priors.GaussianProcess, {"kernel": "matern"}),
        (priors.Trend, {"kind": "wavelet"}),
        (priors.Imputation, {"kind": "cubic"}),
        (priors.Imputation, {"least": 0.5, "most": 0.2}),
        (priors.FixedPoints, {"share": 0.0}),
        (priors.OpenHighLowClose, {"columns": (0, 1, 2, 9)}),
        (priors.OpenHighLowClose, {"low": (1.0,) * 4, "high": (0.0,) * 4}),
    ):
        with pytest.raises(InputError, match=next(iter(settings))):
            kind.fit(rows, **settings)
    everything = jnp.ones(SHAPE, bool)
    with pytest.raises(InputError, match="is no condition"):
        priors.Normal().given(jnp.zeros(SHAPE), everything)
    with pytest.raises(InputError, match="whole trend"):
        priors.Trend.fit(rows).given(jnp.zeros(SHAPE), everything.at[0, 0].set(False))
    with pytest.raises(InputError, match="extremes"):
        priors.Extremes.fit(rows).given(jnp.zeros(SHAPE), jnp.zeros(SHAPE, bool))
    with pytest.raises(InputError, match="BridgeCondition"):
        sample(constrained(_wild, priors.Normal()), bridge_ve(), shape=SHAPE, solver=DDIM(2), key=KEYS[0], indices=[0])
