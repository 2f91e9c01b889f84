"""The alternatives to the safe denoiser in nests and runs: plain where they do not act, correct rows, no recompiling."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.denoiser import GaussianMixture, NetworkDenoiser, breakpoints
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.process import vp_cosine
from jaxdiff.references import references
from jaxdiff.solvers import DDIM, sample
from jaxdiff.solvers.driver import _sample

N = 6
PROCESS = vp_cosine()
POINTS = np.array([[1.0, 0.5], [-1.0, 0.0], [0.75, -0.5], [-0.75, 0.25]], np.float32)
# from where particle guidance is bounded
BOUNDED, LATER = (0.0047, float("inf")), (0.1, 10.0)
EMPTY = (1.0, 1.0)

MAKERS = {
    "negative": partial(guidance.negative, process=PROCESS, condition=1),
    "repellency": partial(guidance.repellency, process=PROCESS, unsafe=POINTS, radius=1.0),
    "within_batch": partial(guidance.repellency, process=PROCESS, radius=1.0, within_batch=True),
    "particle": partial(guidance.particle, process=PROCESS),
    "safety_flow": partial(guidance.safety_flow, process=PROCESS, unsafe=POINTS),
}
each = pytest.mark.parametrize("name", MAKERS)
alone = pytest.mark.parametrize("name", ["negative", "repellency", "safety_flow"])
together = pytest.mark.parametrize("name", ["within_batch", "particle"])


def made(name, denoise, *, strength=1.0, window=BOUNDED, **others):
    """A peer around a denoiser."""
    return MAKERS[name](denoise, strength=strength, window=window, **others)


@pytest.fixture(scope="module")
def exact():
    """Two classes of two axes."""
    return GaussianMixture(jnp.asarray([[[-1.0, 0.0]], [[1.0, 0.5]]]), jnp.full((2, 1), 0.5), jnp.zeros((2, 1)), PROCESS)


@jax.jit
def mean(denoise, x, t, condition):
    """The posterior mean, as one program."""
    return denoise(x, t, condition)


def drawn(denoise, key, condition, *, shape=(2,), steps=8, **settings):
    """Samples."""
    got = sample(denoise, PROCESS, shape=shape, solver=DDIM(steps), key=key, condition=condition, **settings)
    return jax.tree.map(np.asarray, got)


@each
@pytest.mark.bits
@pytest.mark.parametrize("off", [{"strength": 0.0}, {"window": EMPTY}], ids=lambda off: next(iter(off)))
def test_without_strength_or_window_it_is_the_plain_sampler_bit_for_bit(name, off, exact, key):
    labels = jnp.arange(N) % 2
    plain = drawn(exact, key, labels)
    np.testing.assert_array_equal(drawn(made(name, exact, **off), key, labels), plain)
    assert not np.array_equal(drawn(made(name, exact), key, labels), plain)


@pytest.mark.bits
@pytest.mark.parametrize("name", ["repellency", "particle"])
def test_without_strength_or_window_a_network_is_sampled_bit_for_bit(name, key):
    config = UNetConfig(size=8, values=(2,), base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0)
    shapes, rng = jax.eval_shape(partial(unet, config), jax.random.key(0)), np.random.default_rng(5)
    weights = jax.tree.map(lambda w: jnp.asarray(0.1 * rng.standard_normal(w.shape, np.float32)), shapes.weights)
    network = guidance.clipped(NetworkDenoiser(type(shapes)(weights, shapes.structure), PROCESS, "v"))
    images = {} if name in ("within_batch", "particle") else {"unsafe": rng.uniform(-1, 1, (5, 8, 8, 3)).astype(np.float32)}
    run = lambda denoise: drawn(denoise, key, jnp.arange(4) % 2, shape=(8, 8, 3), steps=4)  # noqa: E731
    plain = run(network)
    for off in ({"strength": 0.0}, {"window": EMPTY}):
        np.testing.assert_array_equal(run(made(name, network, **off, **images)), plain)


@each
def test_the_edges_of_the_window_are_breakpoints_and_it_acts_between_them(name, exact):
    guided = made(name, exact, window=LATER)
    start, stop = (float(PROCESS.time(np.log(snr))) for snr in LATER)
    np.testing.assert_allclose(breakpoints(guided), [start, stop], rtol=1e-5)
    x, labels = jnp.asarray(0.3 * np.random.default_rng(1).standard_normal((N, 2)), jnp.float32), jnp.zeros(N, jnp.int32)
    times = jnp.asarray([start + 0.01, start - 0.001, 0.5 * (start + stop), stop + 0.001, stop - 0.001, 0.01])
    moved = (mean(guided, x, times, labels) != mean(exact, x, times, labels)).any(1)
    np.testing.assert_array_equal(moved, [False, True, True, True, False, False])


@alone
def test_a_sample_does_not_depend_on_its_batch(name, exact, key):
    guided, labels = made(name, exact), jnp.arange(N) % 2
    whole = drawn(guided, key, labels)
    for i in range(N):
        np.testing.assert_allclose(drawn(guided, key, labels[i : i + 1], indices=np.array([i]))[0], whole[i], atol=1e-5)


@together
def test_a_batch_in_another_order_gives_the_same_samples(name, exact, key):
    guided, labels, order = made(name, exact), jnp.arange(N) % 2, np.array([3, 0, 5, 1, 2, 4])
    whole = drawn(guided, key, labels)
    np.testing.assert_allclose(drawn(guided, key, labels[order], indices=order), whole[order], atol=1e-4)
    assert not np.allclose(drawn(guided, key, labels[:3]), whole[:3], atol=1e-2)


@pytest.mark.parametrize("name", ["particle", "repellency", "within_batch"])
def test_within_classifier_free_guidance_each_condition_is_moved_by_itself(name, exact, rng):
    """The null rows are the same samples again: no sample repels itself, nor meets another twice."""
    x, t, labels = jnp.asarray(rng.standard_normal((N, 2)), jnp.float32), 0.5, jnp.arange(N) % 2
    peer, null = made(name, exact), jnp.full(N, -1)
    conditional, unconditional = mean(peer, x, t, labels), mean(peer, x, t, null)
    inside = mean(guidance.classifier_free(peer, -1, 2.0), x, t, labels)
    np.testing.assert_allclose(inside, 2 * conditional - unconditional, atol=1e-5)


def test_particle_guidance_is_the_same_within_and_around_classifier_free_guidance(exact, rng):
    """Its push depends on the states alone."""
    x, labels = jnp.asarray(rng.standard_normal((N, 2)), jnp.float32), jnp.arange(N) % 2
    inside = guidance.classifier_free(made("particle", exact), -1, 3.0)
    around = made("particle", guidance.classifier_free(exact, -1, 3.0))
    np.testing.assert_allclose(mean(inside, x, 0.5, labels), mean(around, x, 0.5, labels), atol=1e-5)


@pytest.mark.parametrize("name", ["negative", "repellency", "within_batch"])
@pytest.mark.parametrize("tau", [0.0, 0.437, 1.0])
def test_switching_within_and_around_is_the_same(name, tau, exact, key):
    """Wholly of the start or the end where tau is at an end, and with a node on tau in between."""
    starts, ends = jnp.arange(N) % 2, 1 - jnp.arange(N) % 2
    around = drawn(guidance.switching(made(name, exact), tau), key, (starts, ends))
    # the unsafe condition of negative guidance is itself switched when it stands outside
    if name == "negative":
        inside = guidance.negative(guidance.switching(exact, tau), PROCESS, (1, 1), strength=1.0, window=BOUNDED)
    else:
        inside = made(name, guidance.switching(exact, tau))
    np.testing.assert_allclose(around, drawn(inside, key, (starts, ends)), atol=1e-5)
    if tau != 0.437:
        np.testing.assert_array_equal(around, drawn(made(name, exact), key, ends if tau else starts))


def test_switched_and_repelled_samples_are_of_their_end_and_clear_of_the_references(exact, key):
    starts, ends = jnp.zeros(64, jnp.int32), jnp.ones(64, jnp.int32)
    mode, radius = np.array([[1.0, 0.5]], np.float32), 0.8
    switched = guidance.switching(exact, 0.8)
    plain = drawn(switched, key, (starts, ends), steps=20)
    moved = drawn(guidance.repellency(switched, PROCESS, mode, radius=radius, strength=1.0), key, (starts, ends), steps=20)
    clear = lambda x: np.linalg.norm(x - mode, axis=1) > radius * (1 - 1e-5)  # noqa: E731
    assert clear(plain).mean() < 0.75 and clear(moved).all()
    assert (moved[:, 0] > 0).mean() > 0.8


@pytest.mark.parametrize("name", ["repellency", "within_batch", "particle", "safety_flow"])
def test_strength_radius_window_and_references_compile_nothing(name, exact, key):
    labels = jnp.arange(N) % 2
    first = drawn(made(name, exact), key, labels)
    programs = _sample._cache_size()
    others = [{"strength": 0.3}, {"window": LATER}]
    others += [{"radius": 1.3}] if name in ("repellency", "within_batch") else []
    others += [{"unsafe": POINTS[::-1] * 0.8}] if name in ("repellency", "safety_flow") else []
    for other in others:
        assert not np.array_equal(drawn(made(name, exact, **other), key, labels), first)
    assert _sample._cache_size() == programs


WRONG = {
    "`strength` must be at least 0, got -1": lambda: made("particle", lambda x, t, c: x, strength=-1.0),
    "`strength` must be at least 0, got nan": lambda: made("safety_flow", lambda x, t, c: x, strength=np.nan),
    "`radius` must be at least 0, got -2": lambda: guidance.repellency(lambda x, t, c: x, PROCESS, POINTS, radius=-2.0),
    "`scale` must be at least 0, got -1": lambda: guidance.negative(lambda x, t, c: x, PROCESS, 1, scale=-1.0),
    "got neither": lambda: guidance.repellency(lambda x, t, c: x, PROCESS, radius=1.0),
    "`radius` must be a number": lambda: guidance.repellency(lambda x, t, c: x, PROCESS, within_batch=True),
    "`references` must be at least 2": lambda: guidance.repellency(lambda x, t, c: x, PROCESS, POINTS[:1]),
    "`quantile` must lie in": lambda: guidance.radius_of(references(POINTS), 1.5),
    "`images` must be": lambda: guidance.safety_flow(lambda x, t, c: x, PROCESS, POINTS[:0], strength=1.0),
    "lies outside the schedule": lambda: made("repellency", lambda x, t, c: x, window=(1e-12, 1e-11)),
    "images of the samples' shape": lambda: made("repellency", lambda x, t, c: x)(jnp.zeros((2, 3)), 0.5, None),
}


@pytest.mark.parametrize("message", WRONG)
def test_a_wrong_argument_is_an_error_that_names_it(message):
    with pytest.raises(InputError, match=message):
        WRONG[message]()
