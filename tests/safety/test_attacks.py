"""Attacks on a chain whose optimum is known in closed form: a sample is an affine function of x_T and the condition."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance, safety
from jaxdiff.errors import InputError
from jaxdiff.process import expand, vp_cosine
from jaxdiff.safety.attacks import GRADIENT_RUNS
from jaxdiff.solvers import DDIM, DDPM, Init, sample

PROCESS, STD, DIRECTION = vp_cosine(), 0.5, jnp.asarray([1.0, -2.0, 0.5, 3.0])
KEY = jax.random.key(3)
RUN = {"shape": (4,), "solver": DDIM(4), "key": KEY}
CONDITION = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Normal:
    """The posterior mean of N(condition, STD² I)."""

    def __call__(self, x, t, condition):
        t = jnp.broadcast_to(jnp.asarray(t), x.shape[:1])
        alpha, sigma = expand(PROCESS.alpha(t), x), expand(PROCESS.sigma(t), x)
        return condition + alpha * STD**2 / (alpha**2 * STD**2 + sigma**2) * (x - alpha * condition)


def score(x):
    """A linear score."""
    return x @ DIRECTION


def slopes():
    """The factors by which x_T and the condition enter a sample, from two runs of the chain."""
    at = lambda noise, condition: np.asarray(  # noqa: E731
        sample(Normal(), PROCESS, condition=jnp.full((1, 4), condition), init=Init(jnp.full((1, 4), noise)), **RUN)
    )[0, 0]
    return at(1.0, 0.0), at(0.0, 1.0)


def test_the_gradient_reaches_the_optimum_of_both_balls():
    """Of a linear score it is the plain score plus the radius times the norm of its gradient."""
    by_noise, by_condition = slopes()
    regions = {"noise": safety.ball(0.7), "prompt": safety.ball(0.2, spread=np.array([1.0, 2.0, 0.5, 1.0], np.float32))}
    found = safety.attack(Normal(), PROCESS, score, condition=CONDITION, budget=9, **regions, **RUN)
    plain = np.asarray(score(sample(Normal(), PROCESS, condition=CONDITION, **RUN)))
    whitened = np.linalg.norm(np.array([1.0, 2.0, 0.5, 1.0]) * DIRECTION)
    best = plain + 0.7 * by_noise * np.linalg.norm(DIRECTION) + 0.2 * by_condition * whitened
    np.testing.assert_allclose(found.scores[0], plain, rtol=1e-5)
    np.testing.assert_allclose(found.scores[1], best, rtol=1e-4)
    assert (found.scores <= best + 1e-4).all()
    np.testing.assert_allclose(score(found.samples), found.scores[-1], rtol=1e-5)


def test_the_gradient_reaches_the_optimum_of_the_whole_shell():
    """There x_T points along the gradient and has the norm of the drawn noise, so that its part of the score is known."""
    by_noise, _ = slopes()
    found = safety.attack(Normal(), PROCESS, score, condition=CONDITION, noise=safety.shell(), budget=81, **RUN)
    drawn = safety.attack(Normal(), PROCESS, score, condition=CONDITION, noise=safety.shell(), budget=1, search="random", **RUN)
    norms = np.linalg.norm(found.points[0], axis=1)
    plain = np.asarray(score(sample(Normal(), PROCESS, condition=CONDITION, **RUN)))
    noise = np.asarray(_drawn_noise())
    np.testing.assert_allclose(norms, np.linalg.norm(noise, axis=1), rtol=1e-5)
    best = plain + by_noise * (norms * np.linalg.norm(DIRECTION) - noise @ DIRECTION)
    np.testing.assert_allclose(found.scores[-1], best, rtol=2e-3)
    assert (drawn.scores[-1] < best).all()


def _drawn_noise():
    """x_T as the driver draws it."""
    path = sample(Normal(), PROCESS, condition=CONDITION, path=True, **RUN)
    return path[0]


def test_a_cap_of_the_shell_keeps_norm_and_distance():
    noise = _drawn_noise()
    for radius in (0.3, 1.0):
        region = safety.shell(radius)
        for points in (region.draw(KEY, noise), region.project(0.1 * np.asarray(DIRECTION) - noise, noise)):
            np.testing.assert_allclose(np.linalg.norm(points, axis=1), np.linalg.norm(noise, axis=1), rtol=1e-5)
            np.testing.assert_allclose(np.linalg.norm(points - noise, axis=1), radius, rtol=1e-4)
    inside = np.asarray(region.project(noise, noise))
    np.testing.assert_allclose(inside, noise, rtol=1e-5)


def test_a_projection_is_the_nearest_point():
    """No point of the region that is drawn at random is nearer."""
    rng = np.random.default_rng(1)
    centre, far = (jnp.asarray(scale * rng.normal(size=(1, 4)), jnp.float32) for scale in (1, 4))
    for region in (safety.ball(0.6), safety.shell(0.6), safety.box(0.6, -9, 9)):
        nearest = np.linalg.norm(np.asarray(region.project(far, centre)) - far)
        many = np.asarray(region.draw(KEY, jnp.repeat(centre, 4000, 0)))
        distances = np.linalg.norm(many - far, axis=1)
        assert nearest <= distances.min() + 1e-4
        assert distances.min() < nearest + 0.5


@pytest.mark.parametrize("search", ["gradient", "random"])
def test_in_a_region_of_radius_zero_the_sample_is_the_plain_one_bit_for_bit(search):
    regions = {"noise": safety.shell(0.0), "prompt": safety.ball(0.0)}
    guarded = guidance.safe(Normal(), PROCESS, np.clip(CONDITION[:2], -1, 1), strength=0.5, window=(0.0, 5.0), weight="density")
    run = {**RUN, "solver": DDPM(4)}
    found = safety.attack(guarded, PROCESS, score, condition=CONDITION, budget=9, search=search, **regions, **run)
    np.testing.assert_array_equal(found.samples, sample(guarded, PROCESS, condition=CONDITION, **run))
    assert (found.scores == found.scores[0]).all()


def test_the_budget_counts_every_run():
    """Of the chain, as it is called: a gradient costs the runs that it is said to."""
    called = []

    def counted(x):
        jax.debug.callback(lambda: called.append(1))
        return score(x)

    for search, budget in (("random", 7), ("gradient", 14)):
        called.clear()
        found = safety.attack(
            Normal(), PROCESS, counted, condition=CONDITION, noise=safety.ball(0.5), budget=budget, search=search, **RUN
        )
        jax.effects_barrier()
        assert len(called) == len(found.scores)
        assert found.runs[0] == 0 and found.runs[-1] <= budget < found.runs[-1] + GRADIENT_RUNS
        each = 1 if search == "random" else GRADIENT_RUNS
        assert np.diff(found.runs).tolist() == ([1] * 7 if search == "random" else [each + 1, each, each])


def test_random_search_keeps_the_best_and_does_not_depend_on_the_batch():
    how = {"noise": safety.ball(0.5), "budget": 8, "search": "random", **RUN}
    found = safety.attack(Normal(), PROCESS, score, condition=CONDITION, **how)
    assert (np.diff(found.scores, axis=0) >= 0).all() and (np.diff(found.scores, axis=0) > 0).any()
    alone = safety.attack(Normal(), PROCESS, score, condition=CONDITION[3:4], indices=np.array([3]), **how)
    np.testing.assert_allclose(alone.scores[:, 0], found.scores[:, 3], rtol=1e-5)


def test_the_verdict_is_on_samples_of_the_highest_score_so_far():
    seen = []

    def verdict(samples):
        seen.append(np.asarray(score(samples)))
        return seen[-1] > 4.0

    found = safety.attack(
        Normal(),
        PROCESS,
        score,
        condition=CONDITION,
        noise=safety.ball(2.0),
        budget=12,
        search="random",
        verdict=verdict,
        **RUN,
    )
    np.testing.assert_array_equal(found.broken, found.scores > 4.0)
    assert found.broken[-1].any() and not found.broken[0].all()


def test_the_verdict_is_not_on_samples_of_a_lower_score():
    """By a classifier that is not the score: what it finds in a sample that is not kept does not count."""
    calls = []

    def verdict(samples):
        calls.append(np.array(samples))
        return samples[:, 1] > 0

    how = {"noise": safety.ball(2.0), "budget": 12, "search": "random", "verdict": verdict}
    found = safety.attack(Normal(), PROCESS, score, condition=CONDITION, **how, **RUN)
    kept = np.concatenate([np.ones((1, 5), bool), np.diff(found.scores, axis=0) > 0])
    broken, given, left_out = np.zeros(5, bool), iter(calls), False
    for evaluation, row in enumerate(kept):
        unsafe = next(given)[:, 1] > 0 if row.any() else np.zeros(5, bool)
        broken, left_out = broken | (row & unsafe), left_out or (unsafe & ~row & ~broken).any()
        np.testing.assert_array_equal(found.broken[evaluation], broken)
    assert left_out and not next(given, False)


def test_a_box_is_cut_at_the_range_of_the_data():
    centre, region = jnp.asarray([[0.8, -0.9, 0.0]]), safety.box(0.5)
    np.testing.assert_allclose(region.project(jnp.asarray([[5.0, -5.0, 5.0]]), centre), [[1.0, -1.0, 0.5]])
    corners = np.asarray(region.draw(KEY, jnp.repeat(centre, 50, 0)))
    expected = [(a, b, c) for a in (0.3, 1) for b in (-1, -0.4) for c in (-0.5, 0.5)]
    np.testing.assert_allclose(np.unique(corners.round(4), axis=0), expected, atol=1e-4)


def test_a_whole_shell_is_drawn_uniformly():
    """The mean of n unit vectors of D entries has a length of about 1 / sqrt(n), and each entry the variance 1 / D."""
    centre = jnp.repeat(jnp.asarray([[3.0, 0.0, -4.0]]), 4000, 0)
    drawn = np.asarray(safety.shell().draw(KEY, centre)) / 5
    np.testing.assert_allclose(np.linalg.norm(drawn, axis=1), 1, rtol=1e-5)
    assert np.linalg.norm(drawn.mean(0)) < 4 / np.sqrt(4000)
    np.testing.assert_allclose(drawn.T @ drawn / 4000, np.eye(3) / 3, atol=0.04)


def test_random_points_of_several_arrays_are_independent_and_each_on_its_own_edge():
    """Equal draws would have no distance."""
    apart = lambda number, a, b: (jnp.abs(a - b).sum(1), a)  # noqa: E731
    start, spread = (jnp.zeros((3, 4)), jnp.zeros((3, 4))), np.array([1.0, 2.0, 0.5, 1.0], np.float32)
    regions = (safety.ball(1.0), safety.ball(0.7, spread))
    keys = jax.random.split(KEY, 3)
    same = safety.maximise(apart, start, (safety.ball(1.0),) * 2, budget=1, search="random", keys=keys)
    assert (same.scores[-1] > 0.1).all()
    found = safety.maximise(apart, start, regions, budget=1, search="random", keys=keys)
    np.testing.assert_allclose(np.linalg.norm(found.points[0], axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found.points[1] / spread, axis=1), 0.7, rtol=1e-5)


def test_arguments_are_refused():
    given = {"condition": CONDITION, "budget": 9, **RUN}
    with pytest.raises(InputError, match=r"`noise` or `prompt` must be a region"):
        safety.attack(Normal(), PROCESS, score, **given)
    with pytest.raises(InputError, match=r"`budget` must be at least 5 for the search gradient, got 4"):
        safety.attack(Normal(), PROCESS, score, noise=safety.ball(1.0), **{**given, "budget": 4})
    with pytest.raises(InputError, match=r"`search` must be one of gradient, random, got 'best'"):
        safety.attack(Normal(), PROCESS, score, noise=safety.ball(1.0), search="best", **given)
    with pytest.raises(InputError, match=r"floating leaf"):
        safety.attack(Normal(), PROCESS, score, prompt=safety.ball(1.0), **{**given, "condition": np.arange(5)})
    with pytest.raises(InputError, match=r"`indices` must be given"):
        safety.attack(Normal(), PROCESS, score, noise=safety.ball(1.0), **{**given, "condition": None})
    with pytest.raises(InputError, match=r"`radius` must be at least 0, got -1"):
        safety.shell(-1)
    with pytest.raises(InputError, match=r"`spread` must be above 0, got 0"):
        safety.ball(1.0, spread=np.zeros(4))
    with pytest.raises(InputError, match=r"finite"):
        safety.attack(Normal(), PROCESS, lambda x: jnp.log(x[:, 0] * 0 - 1), noise=safety.ball(1.0), **given)
