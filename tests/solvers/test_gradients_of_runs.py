"""Gradients of samples in x_T, the condition and a strength, with and without rematerialisation, by every solver."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import as_denoiser
from jaxdiff.process import expand, vp_linear
from jaxdiff.solvers import DDIM, SOLVERS, Init, sample

PROCESS = vp_linear(0.1, 5.0)
KINDS = {"ddim": {"eta": 0.5}, "heun": {"churn": 1.0}}
"""Options with which a solver that may draw noise does so."""


def bent(x, t, condition):
    """A posterior mean that is nonlinear in the state and in its condition."""
    return 0.3 * condition + 0.4 * jnp.tanh(x - expand(PROCESS.alpha(jnp.broadcast_to(t, x.shape[:1])), x) * condition)


GUARD = guidance.repellency(guidance.classifier_free(bent, jnp.zeros(2), 2.0), PROCESS, np.array([[0.2, -0.3]]), radius=0.8)


def value(x, condition, strength, solver, remat):
    """A function of the samples of a guard around classifier-free guidance."""
    kept = replace(GUARD, strength=strength)
    end = sample(
        as_denoiser(kept), PROCESS, shape=(2,), solver=solver, key=jax.random.key(0), condition=condition, init=Init(x),
        remat=remat,
    )  # fmt: skip
    return jnp.sin(end).sum()


of_run = jax.value_and_grad(value, argnums=(0, 1, 2))
"""The value and its gradients; the driver compiles the run itself, and its transpose."""


# of one step and of two evaluations, both with noise, and of several steps; the driver takes all of them alike
QUICK = {"ddim", "heun", "dpm_solver"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name not in QUICK)) for name in SOLVERS])
def test_gradients_of_a_run_are_the_same_with_rematerialisation_and_those_of_differences(name, doubles, rng):
    solver = SOLVERS[name](4, **KINDS.get(name, {}))
    given = jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(rng.normal(size=(3, 2))), jnp.asarray(0.7)
    (plain, wanted), (again, got) = (of_run(*given, solver, remat) for remat in (False, True))
    np.testing.assert_allclose(plain, again, rtol=1e-12)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    steps = [jnp.asarray(rng.normal(size=np.shape(each))) for each in given]
    up, down = (of_run(*(a + by * step for a, step in zip(given, steps, strict=True)), solver, True)[0] for by in (1e-6, -1e-6))
    slope = sum(jnp.vdot(a, step) for a, step in zip(got, steps, strict=True))
    np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-6)


def test_with_rematerialisation_memory_grows_by_a_state_for_a_step():
    """A network of 512 hidden values a sample, whose state has 2: without it each step keeps several of the hidden ones."""
    weights = jnp.ones((2, 512)), jnp.ones((512, 2))

    def wide(x, t, condition):
        return jnp.tanh(jnp.tanh(x @ weights[0]) @ weights[1])

    def bytes_of(steps, remat):
        def loss(x):
            return sample(wide, PROCESS, shape=(2,), solver=DDIM(steps), key=jax.random.key(0), init=Init(x), remat=remat).sum()

        return jax.jit(jax.grad(loss)).lower(jnp.ones((64, 2))).compile().memory_analysis().temp_size_in_bytes

    state, hidden = 64 * 2 * 4, 64 * 512 * 4
    kept, stored = (bytes_of(24, remat) - bytes_of(4, remat) for remat in (True, False))
    assert stored > 20 * hidden
    assert kept < 20 * 8 * state
