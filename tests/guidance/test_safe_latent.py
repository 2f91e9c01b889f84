"""Safe Latent Diffusion: its equations in float64, what is no change at all, its memory, and its cost."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.defaults import SLD
from jaxdiff.denoiser import GaussianMixture, NetworkDenoiser
from jaxdiff.errors import InputError
from jaxdiff.process import ddpm, expand, flow, vp_cosine
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, Init, UniPC, sample
from jaxdiff.solvers.driver import _sample, evaluations, sample_grid

PROCESS = vp_cosine()
N, SHAPE = 3, (2, 3, 2)
CONCEPT = 2
LABELS = np.arange(N) % 2
EXACT = {"scale": 4.0, "strength": 8.0, "threshold": 0.25, "start": 0.5, "momentum": 0.5, "momentum_decay": 0.25}
"""Numbers without rounding in float32."""


def of_images(x, t, condition, process=PROCESS):
    """The posterior mean of images of three classes, each a mixture of two Gaussians; the third is the concept."""
    means = jnp.asarray(np.random.default_rng(4).normal(size=(3, 2, 12)), x.dtype)
    mixture = GaussianMixture(means, jnp.full((3, 2), 0.5, x.dtype), jnp.zeros((3, 2), x.dtype), process)
    return mixture(x.reshape(len(x), -1), t, condition).reshape(x.shape)


@cache
def in_doubles():
    """The process and the posterior mean with coefficients of float64; called where JAX has it."""
    process = vp_cosine()
    return process, partial(of_images, process=process)


@jax.jit
def mean(denoise, x, t, condition):
    """A posterior mean, as one program."""
    return denoise(x, t, condition)


mean_of_images = jax.jit(of_images)


def guided(denoise=of_images, process=PROCESS, concept=CONCEPT, **numbers):
    return guidance.safe_latent(denoise, process, -1, concept, **{**EXACT, **numbers})


def drawn(denoise, key, solver=None, process=PROCESS, **arguments):
    """Samples."""
    condition = jnp.asarray(LABELS)
    return sample(denoise, process, shape=SHAPE, solver=solver or DDIM(6), key=key, condition=condition, **arguments)


def by_hand(process, path, times, scale, strength, threshold, start, momentum, momentum_decay):
    """The guided means at the states of a path, and the last momentum: entry by entry, from eps."""
    nu, guided = np.zeros((N, *SHAPE)), []
    for x, t in zip(np.asarray(path), times, strict=True):
        alpha, sigma = (np.float64(of(t)) for of in (process.alpha, process.sigma))
        eps = lambda labels: (x - alpha * np.asarray(mean_of_images(x, t, labels, process))) / sigma  # noqa: B023, E731
        own, null, unsafe = eps(LABELS), eps(np.full(N, -1)), eps(np.full(N, CONCEPT))
        term = np.zeros_like(nu)
        for entry in np.ndindex(own.shape):
            difference = own[entry] - unsafe[entry]
            weight = min(1.0, strength * abs(difference)) if difference < threshold else 0.0
            term[entry] = weight * (unsafe[entry] - null[entry]) + momentum * nu[entry]
        nu = momentum_decay * nu + (1 - momentum_decay) * term
        total = null + scale * (own - null - (term if t <= start else 0.0))
        guided.append((x - sigma * total) / alpha)
    return np.array(guided), nu


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize(
    "numbers",
    [
        EXACT,
        {**EXACT, "start": 1.0, "threshold": 1.0, "strength": 5000.0},
        {**EXACT, "start": 1.0, "threshold": 0.0, "momentum": 0.0, "momentum_decay": 0.0, "scale": 1.0},
    ],
    ids=["warm-up", "max", "no momentum"],
)
def test_it_is_the_paper_s_equations(numbers, key):
    process, denoise = in_doubles()
    start = jax.random.normal(key, (N, *SHAPE), jnp.float64)
    own = guided(denoise, process, **numbers)
    path, memory = drawn(own, key, process=process, path=True, return_memory=True, init=Init(start))
    times = np.asarray(DDIM(6).times(process))
    means, nu = by_hand(process, path[:-1], times[:-1], **numbers)
    # the last step of DDIM ends at the guided mean, the others between it and the state
    np.testing.assert_allclose(path[-1], means[-1], atol=1e-9)
    np.testing.assert_allclose(memory.own[-1], nu, atol=1e-9)
    for node in range(6):
        alpha, sigma = (np.float64(of(times[node])) for of in (process.alpha, process.sigma))
        after, spread = (np.float64(of(times[node + 1])) for of in (process.alpha, process.sigma))
        stepped = after * means[node] + spread * (path[node] - alpha * means[node]) / sigma
        np.testing.assert_allclose(path[node + 1], stepped, atol=1e-9)


def plain(x, t, condition):
    """A denoiser without sums, whose rows do not depend on how many there are."""
    return jnp.sin(x) + 0.3 * condition[:, None, None, None]


@pytest.mark.bits
def test_without_strength_and_of_the_null_concept_it_is_classifier_free_guidance_bit_for_bit(key):
    solver = DDIM(4)
    alone = drawn(guidance.classifier_free(plain, -1, 4.0), key, solver)
    np.testing.assert_array_equal(drawn(guided(plain, strength=0.0), key, solver), alone)
    assert not np.array_equal(drawn(guided(plain, start=1.0), key, solver), alone)
    # of any start: momentum and weights do not matter where there is nothing to weigh
    np.testing.assert_array_equal(drawn(guided(plain, concept=-1, start=1.0), key, solver), alone)


def test_it_does_nothing_where_the_condition_is_the_concept(key):
    x, labels = jax.random.normal(key, (N, *SHAPE)), jnp.asarray([0, CONCEPT, 1])
    own = mean(guided(start=1.0, strength=5000.0, threshold=1.0), x, 0.5, labels)
    alone = mean(guidance.classifier_free(of_images, -1, 4.0), x, 0.5, labels)
    same = np.isclose(own, alone, atol=1e-6).all((1, 2, 3))
    np.testing.assert_array_equal(same, [False, True, False])


@pytest.mark.usefixtures("doubles")
def test_it_does_not_depend_on_what_the_network_predicts(key):
    """The threshold is stated for eps: v differs from it by a factor of alpha."""
    process = ddpm("linear", 100)

    def network(prediction, x, t, condition):
        x = x * expand(process.scale(t), x)
        x0 = of_images(x, t, condition, process)
        alpha, sigma = (expand(of(t), x) for of in (process.alpha, process.sigma))
        eps = (x - alpha * x0) / sigma
        return {"eps": eps, "v": alpha * eps - sigma * x0, "x0": x0}[prediction]

    x, labels, found = jax.random.normal(key, (N, *SHAPE), jnp.float64), jnp.asarray(LABELS), []
    for prediction in ("x0", "eps", "v"):
        denoise = NetworkDenoiser(jax.tree_util.Partial(partial(network, prediction)), process, prediction)
        found.append(mean(guided(denoise, process, start=1.0), x, 0.6, labels))
    np.testing.assert_allclose(found[1], found[0], atol=1e-9)
    np.testing.assert_allclose(found[2], found[0], atol=1e-9)


def test_the_end_of_the_warm_up_is_a_node_and_restarts_the_solver():
    start = 0.61
    grid = sample_grid(guided(start=start), PROCESS, UniPC(6), 1)
    assert np.float32(start) in np.asarray(grid.times)[grid.restarts]
    for numbers in ({"start": 1.0}, {"start": start, "strength": 0.0}):
        free = sample_grid(guided(**numbers), PROCESS, UniPC(6), 1)
        assert not free.restarts.any()
        np.testing.assert_array_equal(free.times, sample_grid(of_images, PROCESS, UniPC(6), 1).times)


def test_numbers_compile_nothing_and_a_step_costs_one_and_a_half_guided_ones(key):
    first = drawn(guided(), key)
    programs = _sample._cache_size()
    changes = [{name: number * 1.5} for name, number in EXACT.items()] + [{"concept": 0}]
    for changed in changes:
        assert not np.array_equal(drawn(guided(**changed), key), first), changed
    assert _sample._cache_size() == programs
    assert evaluations(guided(), PROCESS, DDIM(6)) == 18
    assert evaluations(guidance.classifier_free(of_images, -1, 4.0), PROCESS, DDIM(6)) == 12


def test_a_sample_does_not_depend_on_its_batch_and_has_a_scale_of_its_own(key):
    named = lambda x, t, condition: of_images(x, t, condition["label"])  # noqa: E731
    null, concept = ({"label": label, "guidance": 1.0} for label in (-1, CONCEPT))
    given = {"process": PROCESS, "shape": SHAPE, "solver": DDIM(6), "key": key}
    own = guidance.safe_latent(named, PROCESS, null, concept, scale=2.0)
    condition = {"label": LABELS, "guidance": np.array([2.0, 4.0, 4.0], np.float32)}
    together = sample(own, condition=condition, indices=np.arange(N), **given)
    for row in range(N):
        one = jax.tree.map(lambda leaf: leaf[row : row + 1], condition)  # noqa: B023
        alone = sample(own, condition=one, indices=np.array([row]), **given)
        np.testing.assert_allclose(alone[0], together[row], atol=2e-5)
    fixed = guidance.safe_latent(of_images, PROCESS, -1, CONCEPT, scale=4.0)
    np.testing.assert_allclose(together[1], sample(fixed, condition=LABELS, **given)[1], atol=2e-5)


def test_a_process_that_ends_without_signal_is_sampled(key):
    process = flow()
    denoise = partial(of_images, process=process)
    found = drawn(guided(denoise, process, start=1.0, strength=5000.0, threshold=1.0), key, process=process)
    assert np.isfinite(found).all()


def test_the_defaults_are_the_preset_medium():
    own, medium = guidance.safe_latent(of_images, PROCESS, -1, CONCEPT, scale=4.0), SLD["medium"]
    for name in ("strength", "threshold", "start", "momentum", "momentum_decay"):
        assert float(getattr(own, name)) == np.float32(getattr(medium, name))


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"strength": -1.0}, "`strength` must be at least 0"),
        ({"momentum": -0.1}, "`momentum` must be at least 0"),
        ({"momentum_decay": 1.0}, r"`momentum_decay` must lie in \[0, 1\)"),
        ({"start": 1.5}, r"`start` must be a time in \[0, 1\]"),
        ({"threshold": float("nan")}, "`threshold` must be a finite number"),
        ({"scale": float("inf")}, "`scale` must be a finite number"),
    ],
    ids=str,
)
def test_numbers_out_of_their_range_are_errors(numbers, message):
    with pytest.raises(InputError, match=message):
        guided(**numbers)


def test_guards_move_the_unconditional_mean_in_its_one_evaluation(key, rng):
    """Eq. 9 of the safe denoiser: E_safe of the null condition, with the guidance of SLD added."""
    refs = references(rng.normal(size=(5, *SHAPE)).astype(np.float32), limits=None)
    settings = {"temperature": "dimension", "strength": 0.4, "window": (0.0, float("inf"))}
    alone = guided(start=1.0)
    both = guidance.safe(alone, PROCESS, refs, null=-1, **settings)
    x, t = jax.random.normal(key, (N, *SHAPE)), 0.6
    null, unsafe = (mean_of_images(x, t, np.full(N, label)) for label in (-1, 0))
    moved = 0.4 * (null - refs.noised(PROCESS, x, t, 12.0).mean)
    plain = mean(alone, x, t, LABELS)
    np.testing.assert_allclose(mean(both, x, t, LABELS), plain + moved, atol=1e-5)
    # of negative guidance: a fourth condition
    negative = guidance.negative(alone, PROCESS, 0, null=-1, strength=0.4)
    np.testing.assert_allclose(mean(negative, x, t, LABELS), plain + 0.4 * (null - unsafe), atol=1e-5)
    assert [evaluations(each, PROCESS, DDIM(6)) for each in (both, negative)] == [18, 24]


@pytest.mark.bits
def test_under_a_guard_of_strength_0_its_momentum_and_warm_up_stay_bit_for_bit(key, rng):
    refs = references(rng.normal(size=(5, *SHAPE)).astype(np.float32), limits=None)
    alone = guided(plain)
    guarded = guidance.safe(alone, PROCESS, refs, null=-1, strength=0.0, temperature="dimension")
    np.testing.assert_array_equal(drawn(guarded, key, DDIM(4)), drawn(alone, key, DDIM(4)))
