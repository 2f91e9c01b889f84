"""The safe denoiser: the exact identity, samples of the safe distribution, exact edges, per-sample weights, no recompiling."""

import math
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, as_denoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.guidance.weights import Weight
from jaxdiff.model import load
from jaxdiff.process import ddpm, edm, vp_cosine, vp_linear
from jaxdiff.references import References, references
from jaxdiff.solvers import DDIM, DDPM, sample
from jaxdiff.solvers.driver import _sample

EXACT = dict(temperature=1.0, window=(0.0, math.inf), cap=math.inf)


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Empirical:
    """The exact denoiser of a finite data set."""

    references: References
    process: object

    def __call__(self, x, t, condition):
        return self.references.noised(self.process, x, t).mean


def posterior_mean(process, images, x, t):
    """In float64, by all pairs."""
    alpha, sigma = float(process.alpha(t)), float(process.sigma(t))
    weights = softmax(-np.square(x[:, None] - alpha * images).sum(-1) / (2 * sigma**2), axis=1)
    return weights @ images


@pytest.mark.parametrize("make", [vp_linear, vp_cosine, edm])
def test_with_the_odds_of_both_sets_it_is_the_posterior_mean_of_the_safe_one(make, doubles, rng):
    process = make()
    images = rng.normal(size=(60, 3))
    unsafe, safe = images[:18], images[18:]
    refs = references(unsafe, tile=5, limits=None)
    denoise = guidance.safe(
        Empirical(references(images, limits=None), process),
        process,
        refs,
        weight=guidance.odds(safe, refs, limits=None),
        **EXACT,
    )
    guided = jax.jit(lambda denoise, x, t: denoise(x, t, None))
    for t in (0.3, 0.5, 0.7, 0.9, 1.0):
        # noised data of either set: where a state is unsafe beyond doubt the identity divides by nearly nothing
        noise = rng.normal(size=images.shape)
        x = float(process.alpha(t)) * images + float(process.sigma(t)) * noise
        found, wanted = np.asarray(guided(denoise, x, t)), posterior_mean(process, safe, x, t)
        beta = np.exp(np.asarray(refs.noised(process, jnp.asarray(x), t).log_sum)) / np.exp(
            np.asarray(references(safe, centre=refs.centre, limits=None).noised(process, jnp.asarray(x), t).log_sum)
        )
        assert found.dtype == np.float64 and (beta < 100).sum() > 40
        np.testing.assert_allclose(found[beta < 100], wanted[beta < 100], atol=1e-10)


@pytest.mark.optimized
def test_samples_with_the_exact_weight_follow_the_safe_distribution(key):
    """A mixture of an unsafe and two safe Gaussians: energy distance to exact safe samples, n = 4000, at level 1 %."""
    process = vp_cosine()
    means = jnp.asarray([[[-1.5, 0.0]], [[1.5, 0.5]], [[0.3, -1.2]]])
    stds = jnp.full((3, 1), 0.4)
    all_three = GaussianMixture(means, stds, jnp.zeros((3, 1)), process)

    @jax.tree_util.register_dataclass
    @dataclass(frozen=True)
    class Known(Weight):
        """The odds of the first Gaussian, and its posterior mean, in closed form."""

        mixture: GaussianMixture

        def __call__(self, evidence, memory):
            alpha, sigma = process.alpha(evidence.t)[:, None], process.sigma(evidence.t)[:, None]
            spread = alpha**2 * 0.4**2 + sigma**2
            density = jnp.exp(-0.5 * jnp.square(evidence.x[:, None] - alpha[..., None] * means[:, 0]).sum(-1) / spread)
            return density[:, 0] / density[:, 1:].sum(1), memory

    def drawn(strength):
        # the condition -1 is all three; the unsafe posterior mean is the mixture's own under condition 0
        denoise = guidance.dynamic_negative(all_three, process, jnp.asarray(0), weight=Known(all_three), strength=strength)
        x = sample(denoise, process, shape=(2,), solver=DDPM(200), key=key, condition=jnp.full(len(exact), -1))
        return np.asarray(x)

    exact = np.asarray(all_three.draw(jax.random.fold_in(key, 1), 1 + jnp.arange(4000) % 2))
    assert _energy_p(drawn(1.0), exact) > 0.01
    # half and double strength do not follow it, so that the test can fail
    assert _energy_p(drawn(0.5), exact) < 0.01
    assert _energy_p(drawn(2.0), exact) < 0.01


def _energy_p(x, y, directions=16, permutations=199):
    """p-value of a difference: the mean squared Wasserstein distance of projections, by permutation."""
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, np.pi, directions)
    both = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ np.concatenate([x, y]).T
    order = both.argsort(axis=1)

    def distance(first):
        # the L2 distance of the two distribution functions (Cramér), by rank, of as many of each
        counts = np.where(first, 1, -1).astype(np.int32)[order].cumsum(axis=1, dtype=np.int32).astype(np.float32)
        return np.vdot(counts, counts)

    assert len(x) == len(y)
    label = np.arange(2 * len(x)) < len(x)
    seen = distance(label)
    return (1 + sum(distance(rng.permutation(label)) >= seen for _ in range(permutations))) / (1 + permutations)


def test_the_tracked_odds_approach_the_posterior_odds_with_shorter_steps(key):
    """Koulischer et al. 2025 with temperature 1 and no offset, on a mixture whose posterior is known."""
    process, n = vp_cosine(), 400
    means = jnp.asarray([[[-1.5, 0.0]], [[1.5, 0.5]]])
    mixture = GaussianMixture(means, jnp.full((2, 1), 0.5), jnp.zeros((2, 1)), process)
    weight = guidance.tracked(0.5, temperature=1.0, offset=0.0, least=1e-6, most=1 - 1e-6)
    # a strength that moves nothing visible, but not 0: the weight is computed
    denoise = guidance.dynamic_negative(mixture, process, jnp.asarray(0), weight=weight, strength=1e-12)

    def error(steps):
        x, memory = sample(
            denoise, process, shape=(2,), solver=DDPM(steps), key=key, condition=jnp.full(n, -1), return_memory=True
        )
        track = memory.own[0][0]
        t = track.t[:, None]
        spread = process.alpha(t) ** 2 * 0.5**2 + process.sigma(t) ** 2
        logits = -0.5 * jnp.square(track.x[:, None] - process.alpha(t)[..., None] * means[:, 0]).sum(-1) / spread
        return float(jnp.abs(track.probability - jax.nn.softmax(logits, axis=1)[:, 0]).mean())

    errors = [error(steps) for steps in (25, 100, 400)]
    assert errors[2] < 0.02 and errors[2] < errors[1] / 1.5 < errors[0] / 2.25


@pytest.fixture(scope="module")
def network(save_model, tmp_path_factory):
    """An untrained model and unsafe images for it."""
    model = load(save_model(tmp_path_factory.mktemp("model")))
    unsafe = np.random.default_rng(1).uniform(-1, 1, (20, *model.shape)).astype(np.float32)
    return model, references(unsafe, tile=8)


@jax.jit
def at(denoise, x, t, condition):
    """A posterior mean."""
    return denoise(x, t, condition)


def drawn(denoise, model, key, condition=None, solver=DDIM(6), **settings):  # noqa: B008 (frozen)
    """Six samples."""
    condition = model.conditions.encode(jnp.arange(6) % 2) if condition is None else condition
    return sample(denoise, model.process, shape=model.shape, solver=solver, key=key, condition=condition, **settings)


@pytest.mark.bits
@pytest.mark.parametrize(
    "off", [dict(strength=0.0), dict(window=(0.1, 0.1)), dict(threshold=2.0), dict(deviation=-1e9)], ids=str
)
def test_strength_0_an_empty_window_and_a_closed_gate_are_the_plain_sampler_bit_for_bit(off, network, key):
    model, refs = network
    settings = dict(strength=0.5, weight="constant", window=(0.0, math.inf)) | off
    plain, guided = (
        drawn(model.denoise, model, key),
        drawn(guidance.safe(model.denoise, model.process, refs, **settings), model, key),
    )
    np.testing.assert_array_equal(plain, guided)
    on = drawn(guidance.safe(model.denoise, model.process, refs, strength=0.5, weight="constant", window=(0, 9)), model, key)
    assert np.abs(on - plain).max() > 1e-3


def test_every_sample_has_its_own_weight_and_gate(network, key):
    """Drawn alone or beside others, and near or far from the references."""
    model, refs = network
    denoise = guidance.safe(model.denoise, model.process, refs, weight="density", strength=0.5, window=(0.0, math.inf), cap=0.3)
    together = drawn(denoise, model, key)
    alone = [drawn(denoise, model, key, model.conditions.encode(jnp.asarray([i % 2])), indices=[i])[0] for i in range(6)]
    np.testing.assert_allclose(together, np.stack(alone), atol=2e-5)

    images = np.asarray(refs.tiles.reshape(-1, math.prod(refs.shape))[:20] + refs.centre).reshape(-1, *refs.shape)
    t = 0.5
    alpha, sigma = float(model.process.alpha(t)), float(model.process.sigma(t))
    noise = np.random.default_rng(2).normal(size=(4, *refs.shape))
    x = jnp.asarray(alpha * np.concatenate([images[:2], np.full((2, *refs.shape), 4.0)]) + sigma * noise, jnp.float32)
    gated = guidance.safe(
        model.denoise, model.process, refs, weight="constant", strength=0.5, deviation=4.0, window=(0.0, math.inf)
    )
    condition = model.conditions.encode(jnp.zeros(4, jnp.int32))
    moved = np.abs(at(gated, x, t, condition) - at(model.denoise, x, t, condition)).max((1, 2, 3))
    assert (moved[:2] > 0.01).all() and (moved[2:] == 0).all()


def test_the_record_says_when_and_how_strongly_it_acted(network, key):
    model, refs = network
    process = model.process
    window = (0.05, 2.0)
    solver = DDIM(20)
    denoise = guidance.safe(model.denoise, process, refs, weight="constant", strength=jnp.float32(0.3), window=window)
    _, memory = drawn(denoise, model, key, solver=solver, return_memory=True)
    record = guidance.record(denoise, memory, 6)
    times = np.array(solver.times(process))
    start, stop = (float(edge) for edge in (denoise.window.start, denoise.window.stop))
    for edge in (start, stop):
        times[np.abs(times - edge).argmin()] = edge
    within = times[(times <= start) & (times > stop)]
    np.testing.assert_array_equal(record.acted, len(within))
    np.testing.assert_array_equal(record.looked, len(within))
    np.testing.assert_allclose(record.first, within.max(), rtol=1e-6)
    np.testing.assert_allclose(record.last, within.min(), rtol=1e-6)
    np.testing.assert_allclose(record.strongest, 0.3, rtol=1e-6)
    # the edges of the window are those SNR, under any schedule
    np.testing.assert_allclose([process.snr(start), process.snr(stop)], window, rtol=1e-3)
    closed = replace(denoise, threshold=jnp.float32(2.0))
    _, memory = drawn(closed, model, key, solver=solver, return_memory=True)
    never = guidance.record(closed, memory, 6)
    assert (never.acted == 0).all() and np.isnan(never.first).all() and (never.looked == len(within)).all()


def test_the_unconditional_anchor_is_the_order_of_the_paper(network, key):
    """E_safe of the null condition + scale (E_condition - E_null), against the other order and by hand."""
    model, refs = network
    null = model.conditions.encode(jnp.full(1, -1))[0]
    condition, t = model.conditions.encode(jnp.asarray([0, 1, 1])), 0.7
    x = jax.random.normal(key, (3, *model.shape))
    settings = dict(temperature="dimension", strength=0.4, window=(0.0, math.inf))
    safe = lambda denoise, **more: guidance.safe(denoise, model.process, refs, **settings, **more)  # noqa: E731
    found = at(safe(model.denoise, null=null, scale=2.5), x, t, condition)
    nulls = jnp.broadcast_to(null, condition.shape)
    bare = at(safe(model.denoise), x, t, nulls)
    own, without = at(model.denoise, x, t, condition), at(model.denoise, x, t, nulls)
    np.testing.assert_allclose(found, bare + 2.5 * (own - without), atol=1e-5)
    after = at(safe(guidance.classifier_free(model.denoise, null, 2.5)), x, t, condition)
    guided = without + 2.5 * (own - without)
    unsafe = refs.noised(model.process, x, t, math.prod(model.shape)).mean
    np.testing.assert_allclose(after, guided + 0.4 * (guided - unsafe), atol=1e-5)


@pytest.mark.bits
def test_fair_and_safe_nest_in_both_orders(network, key):
    """Each property holds inside the other: tau at an end is the plain safe sampler, strength 0 the plain switching."""
    model, refs = network
    starts, ends = model.conditions.encode(jnp.arange(6) % 2), model.conditions.encode(1 - jnp.arange(6) % 2)
    safe = lambda denoise, strength=0.5: guidance.safe(  # noqa: E731
        denoise, model.process, refs, weight="constant", strength=strength, window=(0.02, 4.0)
    )
    only_safe = drawn(safe(model.denoise), model, key, ends)
    only_fair = drawn(guidance.switching(model.denoise, 0.6), model, key, (starts, ends))
    orders = (
        lambda at, s: safe(guidance.switching(model.denoise, at), s),
        lambda at, s: guidance.switching(safe(model.denoise, s), at),
    )
    together = []
    for both in orders:
        np.testing.assert_array_equal(drawn(both(1.0, 0.5), model, key, (starts, ends)), only_safe)
        np.testing.assert_array_equal(drawn(both(0.6, 0.0), model, key, (starts, ends)), only_fair)
        together.append(x := np.asarray(drawn(both(0.6, 0.5), model, key, (starts, ends))))
        assert np.abs(x - only_safe).max() > 1e-3 and np.abs(x - only_fair).max() > 1e-3
    np.testing.assert_allclose(*together, atol=1e-5)
    assert [len(breakpoints(both(0.6, 0.5))) for both in orders] == [3, 3]


def test_another_strength_window_gate_or_set_compiles_nothing(network, key):
    model, refs = network
    other = references(np.random.default_rng(3).uniform(-1, 1, (20, *model.shape)), tile=8)
    drawn(guidance.safe(model.denoise, model.process, refs), model, key)
    programs = _sample._cache_size()
    drawn(
        guidance.safe(
            model.denoise, model.process, other, strength=0.1, window=(0.01, 3.0), threshold=0.2, deviation=3.0, cap=1.0
        ),
        model,
        key,
    )
    drawn(guidance.safe(model.denoise, model.process, refs, temperature="root", window=(0.2, 0.2)), model, key)
    assert _sample._cache_size() == programs


def test_a_classifier_is_a_weight(network, key):
    """exp of its log odds, times the strength, up to the cap; infinite odds stay finite."""
    model, refs = network
    x, condition = jax.random.normal(key, (3, *model.shape)), model.conditions.encode(jnp.asarray([0, 1, 1]))
    log_odds = jnp.asarray([-1.0, 0.5, jnp.inf])
    found = guidance.safe(
        model.denoise, model.process, refs, weight=guidance.classifier_odds(lambda x, t: log_odds), strength=0.5, cap=3.0,
        temperature="dimension", window=(0.0, math.inf),
    )(x, 0.5, condition)  # fmt: skip
    mean = model.denoise(x, 0.5, condition)
    unsafe = refs.noised(model.process, x, 0.5, math.prod(model.shape)).mean
    beta = np.array([0.5 * math.exp(-1), 0.5 * math.exp(0.5), 3.0])[:, None, None, None]
    np.testing.assert_allclose(found, mean + beta * (mean - unsafe), atol=1e-5)


@pytest.mark.parametrize("t", [1e-4, 0.01, 1.0])
def test_extreme_states_give_no_nan(t):
    """12,288 dimensions, exact kernels and odds, near the data and far from it."""
    rng, process = np.random.default_rng(0), ddpm("linear")
    unsafe, safe = rng.uniform(-1, 1, (2, 6, 64, 64, 3))
    refs = references(unsafe)
    denoise = guidance.safe(as_denoiser(lambda x, t, c: x), process, refs, weight=guidance.odds(safe, refs), **EXACT)
    for x in (unsafe, safe, 5 * rng.normal(size=unsafe.shape)):
        assert np.isfinite(jax.jit(lambda x: denoise(x, t, None))(jnp.asarray(x, jnp.float32))).all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(unsafe=np.zeros((0, 8, 8, 3))), "at least one image"),
        (dict(strength=-1.0), "`strength` must be at least 0, got -1"),
        (dict(cap=-1.0), "`cap` must be at least 0"),
        (dict(weight="strong"), "`weight` must be one of density, constant or a Weight, got 'strong'"),
        (dict(kernel="gauss"), "`kernel` must be one of noised, laplace, got 'gauss'"),
        (dict(kernel="laplace"), "`bandwidth` must be above 0 for the kernel laplace, got None"),
        (dict(bandwidth=1.0), "`bandwidth` is only for the kernel laplace"),
        (dict(kernel="laplace", bandwidth=1.0, deviation=3.0), "need the kernel noised"),
        (dict(temperature="high"), "`temperature` must be a number above 0 or one of dimension, root, got 'high'"),
        (dict(temperature=0.0), "`temperature` must be above 0, got 0"),
        (dict(window=(1.0, 0.1)), "0 <= low <= high, got \\(1.0, 0.1\\)"),
        (dict(window=(1e9, 1e10)), "outside the schedule of process vp_cosine"),
    ],
)
def test_unusable_settings_are_errors(settings, message):
    unsafe = settings.pop("unsafe", np.zeros((2, 8, 8, 3)))
    with pytest.raises(InputError, match=message):
        guidance.safe(lambda x, t, c: x, vp_cosine(), unsafe, **settings)


def test_odds_belong_to_their_references():
    one, other = references(np.zeros((2, 3))), references(np.ones((2, 3)))
    weight = guidance.odds(np.ones((4, 3)), one)
    identity = lambda x, t, c: x  # noqa: E731
    guidance.safe(identity, vp_cosine(), one, weight=weight, temperature=1.0)
    with pytest.raises(InputError, match="made for other unsafe references"):
        guidance.safe(identity, vp_cosine(), other, weight=weight, temperature=1.0)
    with pytest.raises(InputError, match="`temperature` must be 1"):
        guidance.safe(identity, vp_cosine(), one, weight=weight, temperature="root")
    with pytest.raises(InputError, match="`prior` must lie in \\(0, 1\\), got 1.0"):
        guidance.odds(np.ones((4, 3)), one, prior=1.0)
    with pytest.raises(InputError, match="needs unsafe references"):
        guidance.dynamic_negative(identity, vp_cosine(), jnp.asarray(0), weight="density")
