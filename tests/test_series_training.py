"""The training loss of series: its weights, what it draws, and that the right denoiser has the least loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import priors
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.process import bridge_ve, bridge_vp, ddpm, expand, vp_cosine
from jaxdiff.series_training import SeriesObjective

SHAPE = (512, 8, 2)
MEAN, STD = 0.2, 0.1
ROWS = MEAN + STD * np.random.default_rng(0).normal(size=SHAPE)
BATCH = {"x0": jnp.asarray(ROWS, jnp.float32), "labels": jnp.zeros((SHAPE[0], 1), jnp.int32)}


def losses(network, process, **options):
    objective = SeriesObjective(**options)
    drawn, key = objective.draw(process, BATCH, jax.random.key(1))
    return np.asarray(objective.losses_of(network, process, drawn, key)), drawn


def exact_mean(process):
    """The exact posterior mean of x_0 ~ N(MEAN, STD²), from what the network sees."""

    def network(x, t, condition, dropout_key):
        a, b, c = (expand(each(t), x) for each in (process.end_weight, process.alpha, process.sigma))
        y = x * expand(process.scale(t), x) - a * condition.end
        return MEAN + b * STD**2 / (b**2 * STD**2 + c**2) * (y - b * MEAN)

    return network


@pytest.mark.parametrize("process", [bridge_vp(), bridge_ve()], ids=lambda process: process.name)
def test_the_exact_denoiser_has_the_least_error(process):
    exact = losses(exact_mean(process), process, weighting="none")[0].mean()
    squared = losses(exact_mean(process), process, weighting="none", error="squared")[0].mean()
    for shift in (-0.03, 0.03):
        moved = lambda *given, shift=shift, **named: exact_mean(process)(*given, **named) + shift  # noqa: E731
        assert losses(moved, process, weighting="none")[0].mean() > exact * 1.02
        assert losses(moved, process, weighting="none", error="squared")[0].mean() > squared * 1.02
    # of a network that is shown x_t alone
    blind = lambda x, t, condition, dropout_key: jnp.full_like(x, MEAN)  # noqa: E731
    assert losses(blind, process, weighting="none")[0].mean() > exact * 1.02


def test_the_squared_error_is_least_at_the_mean_and_the_absolute_one_at_the_median(monkeypatch):
    """Of windows that are 0 in seven of ten cases, and else 1, by a network that sees nothing."""
    monkeypatch.setitem(BATCH, "x0", jnp.broadcast_to(jnp.asarray(np.arange(SHAPE[0]) % 10 > 6)[:, None, None], SHAPE) * 1.0)

    def best(error):
        constants = np.linspace(-0.2, 1.2, 57)
        given = lambda value: lambda x, t, condition, dropout_key: jnp.full_like(x, value)  # noqa: E731
        return constants[np.argmin([losses(given(c), bridge_vp(), weighting="none", error=error)[0].mean() for c in constants])]

    assert abs(best("squared") - 0.3) < 0.02 and best("absolute") == pytest.approx(0.0)


def test_weights_are_the_stated_ones():
    t, data = jnp.asarray([0.1, 0.5, 0.9]), 0.3
    bridge = bridge_vp(0.1, 2.0)
    a, b, c = (np.asarray(f(t), np.float64) for f in (bridge.end_weight, bridge.alpha, bridge.sigma))
    # DDBM's c_out with sigma_T = sigma_0 and no covariance
    total = a**2 * data**2 + b**2 * data**2 + c**2
    c_out = np.sqrt((a**2 * data**4 + data**2 * c**2) / total)

    def weights(process, kind, error="absolute"):
        return np.asarray(SeriesObjective(error=error, weighting=kind, sigma_data=data).weights(process, t))

    np.testing.assert_allclose(weights(bridge, "published"), 1 / c_out**2, rtol=1e-5)
    np.testing.assert_allclose(weights(bridge, "relative"), 1 / c_out, rtol=1e-5)
    np.testing.assert_allclose(weights(bridge, "relative", "squared"), 1 / c_out**2, rtol=1e-5)
    np.testing.assert_array_equal(weights(bridge, "none"), 1)
    # Diffusion-TS: sqrt(alpha_i) sqrt(1 - abar_i) / beta_i / 100 of a table, at one of its timesteps
    table = ddpm("cosine", 500)
    step = 250
    cumulative = np.asarray(table.alpha(jnp.asarray([step / 500, (step + 1) / 500])), np.float64) ** 2
    beta = 1 - cumulative[1] / cumulative[0]
    expected = np.sqrt(cumulative[1]) * np.sqrt(1 - cumulative[1]) / beta / 100
    found = SeriesObjective().weights(table, jnp.asarray([(step + 0.5) / 500]))
    np.testing.assert_allclose(found, expected, rtol=0.02)


def test_a_bridge_draws_x_T_of_each_window_and_a_diffusion_model_none():
    prior = priors.Imputation.fit(ROWS)
    bridge = bridge_ve(prior=prior)
    drawn, _ = SeriesObjective(label_dropout=0.5).draw(bridge, BATCH, jax.random.key(0))
    np.testing.assert_array_equal(np.asarray(drawn["end"])[drawn["known"]], np.asarray(BATCH["x0"])[drawn["known"]])
    assert len(np.unique(np.asarray(drawn["known"]).mean((1, 2)).round(2))) > 5
    assert 0.4 < float((drawn["labels"] == -1).mean()) < 0.6
    assert float(drawn["t"].min()) > 0 and float(drawn["t"].max()) <= 1
    plain, _ = SeriesObjective().draw(vp_cosine(), BATCH, jax.random.key(0))
    assert plain.keys() == {"x0", "noise", "t", "labels"}
    seen = []

    def network(x, t, condition, dropout_key):
        seen.append(condition)
        return x

    losses(network, vp_cosine())
    assert isinstance(seen[0], BridgeCondition) and seen[0].end is None and seen[0].labels is not None


def test_errors():
    for wrong in (
        {"prediction": "noise"},
        {"weighting": "p2"},
        {"error": "huber"},
        {"sigma_data": 0.0},
        {"label_dropout": 1.5},
    ):
        with pytest.raises(InputError, match=next(iter(wrong))):
            SeriesObjective(**wrong)
