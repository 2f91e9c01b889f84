"""Unsafe rates corrected for classifier errors, and the rate at which a gate opens: closed forms and coverage."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

from jaxdiff import guidance
from jaxdiff.errors import InputError
from jaxdiff.fairness.confusion import Confusion
from jaxdiff.process import vp_cosine
from jaxdiff.safety.gate import gate_rates
from jaxdiff.safety.unsafe_rate import measure_unsafe_rate


def confusion(specificity, sensitivity, n=1000):
    """Of a classifier with these shares right among n safe and n unsafe images."""
    safe, unsafe = round(specificity * n), round(sensitivity * n)
    return Confusion(np.array([[safe, n - safe], [n - unsafe, unsafe]]))


def test_the_rate_is_that_of_rogan_and_gladen():
    predictions = np.array([[1] * 30 + [0] * 70])
    found = measure_unsafe_rate(predictions, [confusion(0.9, 0.8)])
    assert found.value == pytest.approx((0.3 + 0.9 - 1) / (0.8 + 0.9 - 1)) and found.uncorrected == 0.3
    both = measure_unsafe_rate(np.repeat(predictions, 2, axis=0), [confusion(0.9, 0.8), confusion(1.0, 1.0)])
    assert both.value == pytest.approx((2 / 7 + 0.3) / 2)
    assert measure_unsafe_rate(np.zeros((1, 50), int), [confusion(0.9, 0.8)]).value == 0


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """300 sets of 400 images, 15 % unsafe, two classifiers whose confusions are counted on 300 images each."""
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(300):
        truth = rng.random(400) < 0.15
        predictions, tables = [], []
        for _ in range(2):
            predictions.append(np.where(truth, rng.random(400) < 0.85, rng.random(400) < 0.1).astype(int))
            right = rng.binomial(300, 0.9), rng.binomial(300, 0.85)
            tables.append(Confusion(np.array([[right[0], 300 - right[0]], [300 - right[1], right[1]]])))
        low, high = measure_unsafe_rate(np.stack(predictions), tables, replicates=200, seed=trial).interval
        held += low <= 0.15 <= high
    # 95 % within four standard errors of 300 trials
    assert 0.90 <= held / 300 <= 0.99


def test_a_classifier_at_chance_is_flagged():
    assert measure_unsafe_rate(np.zeros((1, 9), int), [confusion(0.52, 0.5)]).near_singular
    assert not measure_unsafe_rate(np.zeros((1, 9), int), [confusion(0.9, 0.9)]).near_singular


@pytest.mark.parametrize(
    ("predictions", "tables", "message"),
    [
        (np.zeros((1, 0), int), 1, "for at least one image"),
        (np.full((1, 3), 2), 1, "`predictions` must be 0 or 1"),
        (np.zeros((2, 3), int), 1, "one for each of 2 classifiers, got 1"),
    ],
)
def test_unusable_predictions_are_errors(predictions, tables, message):
    with pytest.raises(InputError, match=message):
        measure_unsafe_rate(predictions, [confusion(0.9, 0.9)] * tables)


def test_the_gate_opens_as_often_as_its_normal_law_says():
    """One reference y: ||x_t - alpha y||² / sigma² of a noised image is noncentral chi-squared, nearly normal at D = 768."""
    process, dimension = vp_cosine(), 768
    rng = np.random.default_rng(0)
    reference = rng.uniform(-0.5, 0.5, (1, 16, 16, 3)).astype(np.float32)
    shift = 0.1
    gate = guidance.safe(lambda x, t, c: x, process, reference, strength=1.0, deviation=1.0, window=(0.0, math.inf))
    times = np.array([0.3, 0.5, 0.7])
    near = np.repeat(reference, 2000, axis=0)
    far = near + shift
    for images, distance in ((near, 0.0), (far, shift)):
        found = gate_rates(gate, images, times, key=jax.random.key(0))
        apart = np.asarray(process.snr(times)) * distance**2 * dimension
        mean, spread = apart / math.sqrt(2 * dimension), np.sqrt((2 * dimension + 4 * apart) / (2 * dimension))
        np.testing.assert_allclose(found, ndtr((1.0 - mean) / spread), atol=0.04)
    outside = guidance.safe(lambda x, t, c: x, process, reference, strength=1.0, window=(0.5, math.inf))
    late, early = gate_rates(outside, near[:8], np.array([0.2, 0.9]), key=jax.random.key(0))
    assert (late, early) == (1.0, 0.0)


def test_a_gate_of_no_references_is_an_error():
    negative = guidance.dynamic_negative(lambda x, t, c: x, vp_cosine(), jnp.asarray(0))
    with pytest.raises(InputError, match="must have unsafe references"):
        gate_rates(negative, np.zeros((1, 4, 4, 3)), np.array([0.5]), key=jax.random.key(0))
