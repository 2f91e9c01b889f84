"""Inpainting: the counterfactual-parity distribution in closed form, what it must not change, and its cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest

from jaxdiff.denoiser import GaussianMixture
from jaxdiff.errors import InputError
from jaxdiff.guidance.masked import masked
from jaxdiff.inpainting import inpaint
from jaxdiff.probability_flow import Path
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, DPMSolverSDE, Heun, sample
from jaxdiff.solvers.driver import Init, evaluations

PROCESS = vp_cosine()
N, STD = 2000, 0.02
OWN = jnp.arange(N) % 2
NULL = jnp.full(N, -1)
SDE = DDIM(60, eta=1.0, spacing="log_snr")
LABEL = jnp.asarray([[True, False]])
"""The first axis shows the label, the second the other attribute."""


def mixture(ratio: float, shared: float = 0.0) -> GaussianMixture:
    """p(x | c, a) = N(±1 + shared a, s²) N(±ratio, s²), where a = c in a share 0.9."""
    parts = [[[2 * c - 1.0 + shared * (2 * a - 1), ratio * (2 * a - 1)] for a in (0, 1)] for c in (0, 1)]
    return GaussianMixture(jnp.asarray(parts), jnp.full((2, 2), STD), jnp.log(jnp.asarray([[0.9, 0.1], [0.1, 0.9]])), PROCESS)


def unlabelled(ratio: float, shared: float = 0.0, solver=SDE):
    """Samples without a label."""
    return sample(mixture(ratio, shared), PROCESS, shape=(2,), solver=solver, key=jax.random.key(0), condition=NULL)


def again(images, ratio: float, shared: float = 0.0, solver=SDE, **given):
    """The label's part drawn again."""
    how = {"condition": OWN, "solver": solver, "key": jax.random.key(1), **given}
    return np.asarray(inpaint(mixture(ratio, shared), PROCESS, images, LABEL, **how))


def shares(x) -> list[int]:
    """How many of each group have a = 1."""
    return [int((x[np.asarray(OWN) == c, 1] > 0).sum()) for c in (0, 1)]


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_it_draws_the_counterfactual_parity_distribution_at_any_scale_of_the_other_attribute(ratio):
    """p(c) N(±1, s²) for the label and the marginal of a, also where a is decided after the label."""
    images = unlabelled(ratio)
    x, low_high = again(images, ratio), binom.interval(0.999, N // 2, 0.5)
    vanilla = np.asarray(sample(mixture(ratio), PROCESS, shape=(2,), solver=SDE, key=jax.random.key(0), condition=OWN))
    assert all(low_high[0] <= count <= low_high[1] for count in shares(x))
    assert not any(low_high[0] <= count <= low_high[1] for count in shares(vanilla))
    sign = 2 * np.asarray(OWN) - 1
    assert ((x[:, 0] > 0) == (sign > 0)).all()
    # by DDIM the spread of 60 steps is a little off: its moments instead of a test of the whole law
    deviation = (x[:, 0] - sign) / STD
    assert abs(deviation.mean()) < 4 / np.sqrt(N) and abs(deviation.std() - 1) < 0.1
    np.testing.assert_array_equal(x[:, 1], images[:, 1])


def test_what_is_drawn_again_fits_what_was_kept():
    """Where the label's part depends on a too, it follows the a outside, which is decided before."""
    x = again(unlabelled(4.0, shared=0.1), 4.0, shared=0.1, strength=1.0)
    expected = (2 * np.asarray(OWN) - 1) + 0.1 * np.sign(x[:, 1])
    assert np.abs(x[:, 0] - expected).max() < 6 * STD


def test_from_strength_1_the_label_is_that_of_plain_sampling_in_distribution():
    """The label's part does not depend on the rest given the label, so it is the one-dimensional plain sample."""
    x = again(unlabelled(0.5), 0.5, strength=1.0, solver=DPMSolverSDE(60))
    deviation = (x[:, 0] - (2 * np.asarray(OWN) - 1)) / STD
    assert kstest(deviation, "norm").pvalue > 1e-3


def test_noise_is_a_path_as_good_as_its_states():
    """x / alpha is linear in sigma / alpha along alpha x_0 + sigma eps, so that two states give all of it."""
    count, solver = 16, DDIM(8)
    images, eps = unlabelled(2.0, shared=0.5)[:count], jax.random.normal(jax.random.key(5), (count, 2))
    ends = [jnp.full(count, t) for t in (1e-3, 0.8)]
    path = Path(jnp.stack(ends), jnp.stack([PROCESS.noised(images, eps, t) for t in ends]))
    whole = jnp.broadcast_to(LABEL, (count, 2))

    def drawn(path):
        guided = masked(mixture(2.0, shared=0.5), PROCESS, whole, images, path)
        start = Init(PROCESS.noised(images, eps, ends[1]), 0.8)
        return sample(guided, PROCESS, shape=(2,), solver=solver, key=jax.random.key(0), condition=OWN[:count], init=start)

    np.testing.assert_allclose(drawn(eps), drawn(path), atol=2e-4)


@pytest.mark.parametrize("solver", [DDIM(6), Heun(4), DPMSolverSDE(6)], ids=["ddim", "heun", "dpm_solver_sde"])
def test_outside_nothing_changes_and_a_sample_is_its_own(solver):
    images = unlabelled(2.0, solver=DDIM(6))
    x = again(images, 2.0, solver=solver)
    np.testing.assert_array_equal(x[:, 1], images[:, 1])
    assert (x[:, 0] != np.asarray(images)[:, 0]).all()
    rows = np.array([7, 2])
    some = inpaint(
        mixture(2.0), PROCESS, images[rows], LABEL, condition=OWN[rows], solver=solver, key=jax.random.key(1), indices=rows
    )
    np.testing.assert_allclose(some, x[rows], atol=1e-5)


def test_its_cost_is_that_of_the_steps_from_its_strength_on():
    calls = []

    def counted(x, t, condition):
        jax.debug.callback(lambda _: calls.append(1), x)
        return 0 * x

    for solver, strength in ((DDIM(10), 0.8), (DDIM(10), 0.31), (Heun(5), 0.6)):
        calls.clear()
        inpaint(
            counted, PROCESS, jnp.zeros((1, 2)), LABEL, condition=jnp.zeros(1, int), solver=solver, key=jax.random.key(0),
            strength=strength,
        )  # fmt: skip
        jax.effects_barrier()
        assert len(calls) == evaluations(counted, PROCESS, solver, t=strength) <= solver.evaluations


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"strength": 0.0}, r"`strength` must be a time in \(0, 1\], got 0.0"),
        ({"strength": 1.5}, "got 1.5"),
        ({"mask": jnp.ones((1, 3), bool)}, r"`mask` must broadcast to `images` of shape \(4, 2\), got shape \(1, 3\)"),
        ({"mask": jnp.ones((2, 2), bool)}, "`mask` must broadcast"),
        ({"condition": OWN[:3]}, "`condition` must have the 4 samples"),
        ({"indices": np.arange(3)}, "`indices` must be one integer for each of the 4 samples"),
    ],
    ids=str,
)
def test_arguments_that_do_not_fit_are_named(given, message):
    how = {"mask": LABEL, "condition": OWN[:4], "solver": DDIM(4), "key": jax.random.key(0), **given}
    with pytest.raises(InputError, match=message):
        inpaint(mixture(2.0), PROCESS, jnp.zeros((4, 2)), how.pop("mask"), **how)


def test_noise_of_another_shape_is_an_error():
    with pytest.raises(InputError, match=r"`path` must be noise of the shape \(4, 2\) of `original`, got \(4, 3\)"):
        masked(mixture(2.0), PROCESS, jnp.ones((4, 1), bool), jnp.zeros((4, 2)), jnp.zeros((4, 3)))
