"""Purification of a Gaussian follows its closed form, and accuracy under attack is counted honestly."""

from collections import Counter
from dataclasses import dataclass, fields

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import safety
from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine
from jaxdiff.safety.purification import Purifier
from jaxdiff.solvers import DDIM, DPMSolver, sample

PROCESS, MEAN, STD = vp_cosine(), 0.5, 0.3
NORMAL = GaussianMixture(jnp.full((1, 1, 2), MEAN), jnp.full((1, 1), STD), jnp.zeros((1, 1)), PROCESS)
TWO = GaussianMixture(jnp.asarray([[[-1.0, 0.0], [1.0, 0.0]]]), jnp.full((1, 2), 0.05), jnp.zeros((1, 2)), PROCESS)
N = 4000


@pytest.mark.parametrize("t", [0.3, 0.8])
def test_the_purified_distribution_of_a_gaussian(t, key):
    x = jnp.broadcast_to(jnp.asarray([2.0, -1.0]), (N, 2))
    got = np.asarray(safety.purify(NORMAL, PROCESS, x, t=t, solver=DPMSolver(30), key=key, condition=jnp.zeros(N, int)))
    alpha, sigma = float(PROCESS.alpha(t)), float(PROCESS.sigma(t))
    size = np.sqrt(alpha**2 * STD**2 + sigma**2)
    mean, std = MEAN + STD * alpha * (np.asarray(x[0]) - MEAN) / size, STD * sigma / size
    np.testing.assert_allclose(got.mean(0), mean, atol=4 * std / np.sqrt(N) + 0.01)
    np.testing.assert_allclose(got.std(0), std, rtol=4 / np.sqrt(2 * N) + 0.02)


def test_from_the_highest_level_the_image_is_forgotten_and_at_each_it_depends_on_its_index_alone(key):
    x = jnp.asarray([[2.0, -1.0], [0.3, 0.1], [-5.0, 5.0]])
    how = {"solver": DDIM(5), "key": key, "condition": jnp.zeros(3, int)}
    whole = safety.purify(NORMAL, PROCESS, x, t=1.0, **how)
    np.testing.assert_allclose(whole, sample(NORMAL, PROCESS, shape=(2,), **how), atol=2e-3)
    part = safety.purify(NORMAL, PROCESS, x[2:], t=0.4, indices=jnp.array([2]), **{**how, "condition": jnp.zeros(1, int)})
    np.testing.assert_allclose(part, safety.purify(NORMAL, PROCESS, x, t=0.4, **how)[2:], rtol=1e-5)


def logits(x):
    """Which component a point belongs to."""
    return jnp.stack([-5 * x[:, 0], 5 * x[:, 0]], 1)


def test_purification_defends_a_classifier_of_two_narrow_components(key):
    """The border is 1 away from both. Purified, a point that was moved by 0.2 returns to its own component, and one moved
    by 2 is the other's."""
    labels = jnp.arange(8) % 2
    x = jnp.stack([2.0 * labels - 1, jnp.zeros(8)], 1)
    how = {"key": key, "budget": 10, "fresh": 2, "draws": 2}
    plain = safety.robustness(logits, x, labels, region=safety.box(1.2, -3, 3), **how)
    assert plain.clean.tolist() == [1.0] * 8 and plain.attacked.tolist() == [0.0] * 8
    assert plain.runs == 10
    defence = safety.purifier(TWO, PROCESS, t=0.15, solver=DDIM(4), condition=jnp.int32(0))
    small = safety.robustness(logits, x, labels, region=safety.box(0.2, -3, 3), purifier=defence, **how)
    assert small.clean.tolist() == [1.0] * 8 and small.attacked.tolist() == [1.0] * 8
    assert np.abs(small.images - np.asarray(x)).max() <= 0.2 + 1e-6
    large = safety.robustness(logits, x, labels, region=safety.box(2.0, -3, 3), purifier=defence, **how)
    assert large.attacked.max() == 0.0 and large.runs == 10


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Noting(Purifier):
    """A purifier that notes the key of the first image in every purification."""

    def __call__(self, x, keys):
        jax.debug.callback(lambda data: NOTED.append(tuple(np.asarray(data).tolist())), jax.random.key_data(keys)[0])
        return super().__call__(x, keys)


NOTED = []


def test_every_purification_has_noise_of_its_own_and_the_accuracy_is_under_noise_that_the_attack_has_not_seen(key):
    """4 evaluations of 2 purifications, each with its own noise; then 3, of the images and of the attacked ones."""
    NOTED.clear()
    made = safety.purifier(TWO, PROCESS, t=0.15, solver=DDIM(2), condition=jnp.int32(0))
    noting = Noting(**{each.name: getattr(made, each.name) for each in fields(made)})
    x, labels = jnp.asarray([[-1.0, 0.0], [1.0, 0.0]]), jnp.arange(2)
    how = {"region": safety.box(0.2, -3, 3), "budget": 6, "search": "random", "draws": 2, "fresh": 3, "key": key}
    assert safety.robustness(logits, x, labels, purifier=noting, **how).runs == 6
    jax.effects_barrier()
    assert sorted(Counter(NOTED).values()) == [1] * 8 + [2] * 3


def test_images_that_the_attack_cannot_move_are_as_accurate_after_it(key):
    """Under the same fresh noise, which decides which component each of them becomes."""
    defence = safety.purifier(TWO, PROCESS, t=0.7, solver=DDIM(2), condition=jnp.int32(0))
    x, labels = jnp.zeros((4, 2)), jnp.arange(4) % 2
    how = {"region": safety.box(0.0, -3, 3), "budget": 1, "search": "random", "fresh": 6, "key": key}
    found = safety.robustness(logits, x, labels, purifier=defence, **how)
    np.testing.assert_array_equal(found.clean, found.attacked)
    assert ((found.clean > 0) & (found.clean < 1)).any()


def test_the_purifier_in_a_program_is_purify(key):
    x, keys = jnp.asarray([[0.2, -1.0], [0.3, 0.1]]), jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(2))
    inside = jax.jit(safety.purifier(TWO, PROCESS, t=0.4, solver=DDIM(6), condition=jnp.int32(0)).__call__)(x, keys)
    outside = safety.purify(TWO, PROCESS, x, t=0.4, solver=DDIM(6), key=key, condition=jnp.zeros(2, int))
    np.testing.assert_allclose(inside, outside, rtol=1e-5)


def test_the_gradient_through_the_purifier_is_that_of_differences(doubles, key):
    purify = safety.purifier(TWO, PROCESS, t=0.4, solver=DDIM(4), condition=jnp.int32(0))
    x, keys = jnp.asarray([[0.2, -1.0], [0.3, 0.1]]), jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(2))
    both = jax.jit(jax.value_and_grad(lambda x: jnp.sin(purify(x, keys)).sum()))
    step = jnp.asarray([[1.0, 0.5], [-0.7, 0.2]])
    wanted = (both(x + 1e-6 * step)[0] - both(x - 1e-6 * step)[0]) / 2e-6
    np.testing.assert_allclose(jnp.vdot(both(x)[1], step), wanted, rtol=1e-6)


def test_arguments_are_refused(key):
    x = jnp.zeros((2, 2))
    with pytest.raises(InputError, match=r"`t` must be a time in \(0, 1\], got 0.0"):
        safety.purify(NORMAL, PROCESS, x, t=0.0, solver=DDIM(4), key=key)
    with pytest.raises(InputError, match=r"`draws` and `fresh` must be at least 1, got 0 and 8"):
        safety.robustness(logits, x, jnp.zeros(2, int), region=safety.box(0.1), budget=9, key=key, draws=0)
    with pytest.raises(InputError, match=r"`labels`"):
        safety.robustness(logits, x, jnp.zeros(3, int), region=safety.box(0.1), budget=9, key=key)
