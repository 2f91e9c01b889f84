"""A user-defined process whose prior depends on the condition: one class, sampled by the same driver."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.process import GaussianProcess, Process, expand, vp_cosine
from jaxdiff.solvers import DDIM, DPMSolver, Heun, UniPC, sample

N, MEAN, STD = 4000, 0.5, 0.3


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Displaced(Process):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2) up to t = 0.999 of it, and noise N(c, spread² I) about the condition c."""

    spread: float | jax.Array

    name = "displaced"

    def config(self):
        """Its parameter."""
        return {"name": self.name, "spread": float(self.spread)}

    def log_alpha(self, t):
        """log cos."""
        return jnp.log(jnp.cos(0.999 * jnp.pi / 2 * self._as_time(t)))

    def log_sigma(self, t):
        """log sin."""
        return jnp.log(jnp.sin(0.999 * jnp.pi / 2 * self._as_time(t)))

    def time(self, log_snr):
        """From the tangent."""
        return jnp.arctan(jnp.exp(-0.5 * jnp.asarray(log_snr))) / (0.999 * jnp.pi / 2)

    def prior(self, key, shape, condition, t=1.0):
        """sigma (c + spread e)."""
        return self.sigma(t) * (condition + self.spread * jax.random.normal(key, shape))


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Exact:
    """E[x_0 | x_t, c] of data N(MEAN, STD² I)."""

    process: Displaced

    def __call__(self, x, t, condition):
        """MEAN + STD² alpha (x - alpha MEAN - sigma c) / (alpha² STD² + sigma² spread²)."""
        alpha, sigma = expand(self.process.alpha(t), x), expand(self.process.sigma(t), x)
        rest = x - alpha * MEAN - sigma * expand(condition, x)
        return MEAN + STD**2 * alpha * rest / (alpha**2 * STD**2 + (sigma * self.process.spread) ** 2)


@pytest.mark.parametrize(
    "solver", [DDIM(200), Heun(40, spacing="log_snr"), DPMSolver(60), UniPC(40)], ids=lambda solver: solver.name
)
def test_samples_from_a_prior_about_the_condition_follow_the_data(solver, key):
    """Whatever the condition; from the prior of another condition they do not."""
    process = Displaced(0.25)
    condition = jnp.repeat(jnp.asarray([-2.0, 0.0, 3.0], jnp.float32), N)

    def drawn(process, condition_of_denoiser):
        denoise = Exact(process)
        shifted = lambda x, t, condition: denoise(x, t, condition_of_denoiser)  # noqa: E731
        x = sample(shifted, process, shape=(1,), solver=solver, key=key, condition=condition)
        return np.asarray(x).reshape(3, N)

    for group in drawn(process, condition):
        assert group.mean() == pytest.approx(MEAN, abs=4 * STD / N**0.5 + 0.003)
        assert group.std() == pytest.approx(STD, rel=4 / (2 * N) ** 0.5 + 0.01)
    elsewhere = drawn(process, condition + 1.0)
    assert (np.abs(elsewhere.mean(1) - MEAN) > 0.5).all()


def test_each_sample_starts_about_its_own_condition(key):
    """The prior sees one row; the first state of the path is it."""
    process, condition = Displaced(1e-3), {"end": jnp.asarray([[-2.0, 1.0], [4.0, 0.0]]), "other": jnp.zeros(2)}

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class OfTree(Displaced):
        def prior(self, key, shape, condition, t=1.0):
            """About a part of the condition."""
            assert condition["end"].shape == shape and condition["other"].shape == ()
            return super().prior(key, shape, condition["end"], t)

    still = lambda x, t, condition: x  # noqa: E731
    path = sample(still, OfTree(process.spread), shape=(2,), solver=DDIM(2), key=key, condition=condition, path=True)
    np.testing.assert_allclose(path[0], condition["end"], atol=0.02)


def test_a_gaussian_process_starts_from_the_same_noise_under_every_condition(key):
    still = lambda x, t, condition: x  # noqa: E731
    first, second = (
        sample(still, vp_cosine(), shape=(3,), solver=DDIM(2), key=key, condition=condition, path=True)[0]
        for condition in (jnp.zeros(5), jnp.ones((5, 7)))
    )
    np.testing.assert_array_equal(first, second)
    assert isinstance(vp_cosine(), GaussianProcess) and isinstance(vp_cosine(), Process)


def test_a_number_of_the_process_compiles_nothing(key):
    calls = []

    def denoise(x, t, condition):
        calls.append(1)
        return x * 0.5

    run = {"shape": (1,), "solver": DDIM(3), "key": key, "condition": jnp.zeros(2)}
    first = sample(denoise, Displaced(0.5), **run)
    traced = len(calls)
    assert not np.array_equal(first, sample(denoise, Displaced(0.25), **run)) and len(calls) == traced
