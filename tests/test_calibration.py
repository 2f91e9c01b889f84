"""Calibration: a fit recovers a known distortion of a posterior, and the measures follow their definitions."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from sklearn.metrics import log_loss

from jaxdiff.calibration import (
    BANDS,
    Calibration,
    HeldOut,
    calibration_error,
    evaluate_held_out,
    fit,
    log_posterior,
    measure,
    reliability,
)
from jaxdiff.denoiser import as_denoiser
from jaxdiff.errors import InputError
from jaxdiff.process import vp_cosine

SHARES = np.array([0.6, 0.3, 0.1])
NONE = Calibration.identity(3)


def perfect(rng, count):
    """Evidence that is exactly right under the shares: labels are drawn from the posterior that it gives."""
    t = 1 - rng.random(count)
    strength, evidence = np.cos(t * np.pi / 2), 1.5 * rng.standard_normal((count, 3))
    posterior = scipy.special.softmax(np.log(SHARES) + strength[:, None] * evidence, axis=1)
    labels = (rng.random((count, 1)) > posterior.cumsum(1)[:, :-1]).sum(1)
    return HeldOut(evidence, t, strength, labels)


def spoiled(held_out, slope, offset):
    """The same labels with evidence that `evidence = slope * spoiled + offset` puts right."""
    return HeldOut((held_out.evidence - offset) / slope, held_out.t, held_out.strength, held_out.labels)


@pytest.mark.optimized  # a fit runs longer than it compiles
@pytest.mark.parametrize("slope", [0.4, 1.0, 2.5])
def test_a_fit_finds_what_spoiled_the_posterior(rng, slope):
    offset = np.array([0.5, -0.3, -0.2])
    whole = perfect(rng, 60_000)
    bad = spoiled(whole, slope, offset)
    found = fit(bad, SHARES)
    middles = (np.arange(BANDS) + 0.5) / BANDS
    early = middles < 0.8  # later there is little signal to determine it
    np.testing.assert_allclose(np.asarray(found.slopes)[early], slope, rtol=0.15)
    differences = np.asarray(found.offsets) - np.asarray(found.offsets)[:, :1]
    np.testing.assert_allclose(differences[early], np.tile(offset - offset[0], (early.sum(), 1)), atol=0.15)
    # on images that the fit never saw, its probabilities are those of the evidence before it was spoiled
    fresh = perfect(np.random.default_rng(7), 20_000)
    right, mended = fresh.log_posterior(SHARES, NONE), spoiled(fresh, slope, offset).log_posterior(SHARES, found)
    assert np.abs(np.exp(right) - np.exp(mended)).mean() < 0.01


@pytest.mark.optimized
def test_a_fit_of_a_calibrated_network_changes_little(rng):
    found = fit(perfect(rng, 20_000), SHARES)
    fresh = perfect(np.random.default_rng(3), 20_000)
    gap = np.abs(np.exp(fresh.log_posterior(SHARES, found)) - np.exp(fresh.log_posterior(SHARES, NONE)))
    assert gap.mean() < 0.02


@pytest.mark.optimized
def test_a_network_of_random_output_is_calibrated_to_the_prior(rng):
    held_out = perfect(rng, 20_000)
    shuffled = HeldOut(held_out.evidence, held_out.t, held_out.strength, rng.permutation(held_out.labels))
    found = fit(shuffled, SHARES)
    assert np.asarray(found.slopes).min() >= 0 and np.asarray(found.slopes)[:6].max() < 0.1


def test_too_few_images_are_refused(rng):
    with pytest.raises(InputError, match="at least 100 images, got 99"):
        fit(perfect(rng, 99), SHARES)


def test_a_calibration_has_no_jumps_and_each_band_its_own_numbers(rng):
    slopes, offsets = rng.random(BANDS).astype(np.float32), rng.random((BANDS, 2)).astype(np.float32)
    calibration = Calibration(jnp.asarray(slopes), jnp.asarray(offsets))
    t = np.linspace(0, 1, 4001).astype(np.float32)
    ones = jnp.ones((len(t), 2))
    given = np.asarray(calibration(ones, jnp.asarray(t)))
    assert np.abs(np.diff(given, axis=0)).max() < 2 * BANDS / 4000
    middles = (np.arange(BANDS) + 0.5) / BANDS
    expected = np.stack([np.interp(t, middles, slopes + offsets[:, value]) for value in (0, 1)], axis=1)
    np.testing.assert_allclose(given, expected, atol=1e-5)
    again = Calibration.from_config(calibration.config())
    np.testing.assert_array_equal(again.slopes, calibration.slopes)
    np.testing.assert_array_equal(again.offsets, calibration.offsets)


def test_library_and_host_give_one_posterior(rng):
    held_out = perfect(rng, 200)
    calibration = Calibration(jnp.asarray(rng.random(BANDS), jnp.float32), jnp.asarray(rng.random((BANDS, 3)), jnp.float32))
    t, evidence = jnp.asarray(held_out.t, jnp.float32), jnp.asarray(held_out.evidence, jnp.float32)
    on_device = log_posterior(
        jnp.log(jnp.asarray(SHARES)), jnp.asarray(held_out.strength, jnp.float32), calibration(evidence, t)
    )
    np.testing.assert_allclose(on_device, held_out.log_posterior(SHARES, calibration), atol=1e-4)


def test_the_calibration_error_by_hand():
    """Two bins' worth of probabilities: said 0.2, happened 0.5; said 0.8, happened 0.75."""
    said = np.repeat([0.2, 0.8], 300)
    happened = np.concatenate([np.tile([0, 1], 150), np.tile([1, 1, 1, 0], 75)])
    predicted, frequency, count = reliability(said, happened == 1)
    assert count.sum() == 600 and len(count) == 15 and predicted.min() == pytest.approx(0.2)
    np.testing.assert_allclose(count @ predicted / 600, 0.5)
    np.testing.assert_allclose(count @ frequency / 600, happened.mean())
    # bins of 40: all of one kind but the middle one, which holds 20 of each
    middle = 40 * abs(0.5 - (20 * 0.5 + 20 * 0.75) / 40)
    expected = (280 * 0.3 + 280 * 0.05 + middle) / 600
    assert calibration_error(np.stack([1 - said, said], axis=1), happened) == pytest.approx(expected, abs=1e-6)


def test_the_calibration_error_is_the_mean_over_values():
    """In every bin the three values happen 7, 3 and 0 times of ten, where 5, 3 and 2 are predicted."""
    labels = np.tile([0] * 7 + [1] * 3, 60)
    assert calibration_error(np.tile([0.5, 0.3, 0.2], (600, 1)), labels) == pytest.approx((0.2 + 0 + 0.2) / 3)


def test_levels_are_measured_as_defined(rng):
    held_out = perfect(rng, 32_000)
    levels = measure(held_out, SHARES, NONE, vp_cosine())
    assert sum(level.count for level in levels) == 32_000
    for level in levels:
        chosen = (held_out.t > level.low) & (held_out.t <= level.high)
        posterior = np.exp(held_out.log_posterior(SHARES, NONE)[chosen])
        labels = held_out.labels[chosen]
        assert level.log_loss == pytest.approx(log_loss(labels, posterior, labels=[0, 1, 2]))
        assert level.accuracy == pytest.approx(np.mean(posterior.argmax(1) == labels))
        assert level.majority == pytest.approx(np.bincount(labels).max() / len(labels))
        assert level.prior_log_loss == pytest.approx(log_loss(labels, np.tile(SHARES, (len(labels), 1)), labels=[0, 1, 2]))
        assert level.snr == pytest.approx(float(vp_cosine().snr((level.low + level.high) / 2)))
        # a perfect classifier's error is that of chance: about sqrt(2 p (1 - p) / (pi n / 15)) of each value
        assert 0.4 < level.calibration_error / level.by_chance < 2
        assert 0.003 < level.by_chance < 0.03
    spoilt = measure(spoiled(held_out, 0.3, np.zeros(3)), SHARES, NONE, vp_cosine())
    assert all(bad.calibration_error > 3 * good.by_chance for bad, good in zip(spoilt[:5], levels, strict=False))


def test_the_network_is_evaluated_on_noised_images_at_times_in_every_band(rng, key):
    """A network that returns the mean of its input, on images of constant grey: alpha times the grey, plus sigma / 8."""
    images = np.broadcast_to(rng.integers(0, 256, (70, 1, 1, 1)), (70, 8, 8, 1)).astype(np.uint8)
    labels, process = np.arange(70) % 2, vp_cosine()

    def network(x, t):
        mean = x.mean((1, 2, 3))
        return jnp.stack([mean, t], axis=1)

    evaluated = evaluate_held_out(as_denoiser(network), process, images, labels, key, batch=32)
    assert evaluated.evidence.shape == (70 * BANDS, 2)
    np.testing.assert_array_equal(evaluated.labels, np.tile(labels, BANDS))
    np.testing.assert_allclose(evaluated.evidence[:, 1], evaluated.t, atol=1e-6)
    for band in range(BANDS):
        t = evaluated.t[70 * band : 70 * (band + 1)]
        assert (t > band / BANDS).all() and (t <= (band + 1) / BANDS).all() and len(np.unique(t)) == 70
        assert t.min() * BANDS < band + 0.1 and t.max() * BANDS > band + 0.9
    alpha, sigma = (np.asarray(part(evaluated.t.astype(np.float32)), np.float64) for part in (process.alpha, process.sigma))
    np.testing.assert_allclose(evaluated.strength, alpha, atol=1e-6)
    noise = (evaluated.evidence[:, 0] - alpha * np.tile(images[:, 0, 0, 0] / 127.5 - 1, BANDS)) / (sigma / 8)
    assert abs(noise.mean()) < 0.2 and 0.9 < noise.std() < 1.1
    again = evaluate_held_out(as_denoiser(network), process, images, labels, key, batch=64)
    np.testing.assert_allclose(again.evidence, evaluated.evidence, atol=1e-5)
