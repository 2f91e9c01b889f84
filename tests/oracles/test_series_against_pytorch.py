"""Our transformer of series compared with one in PyTorch, written from the formulas, with the same weights.

Every weight is drawn at random, so that none is zero. PyTorch computes in float64: its season is a Fourier transform, whose
strongest frequencies would otherwise depend on rounding.
"""

import warnings
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")

from evaluate.speed_series_network import SeriesTransformer, state_of
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.models import series_transformer as series_transformer_module
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.series_parts import fourier
from jaxdiff.models.size import weight_count
from jaxdiff.weight_file import named

TOLERANCE = 1e-5
B = 6
CONFIGS = {
    "sines": SeriesConfig(24, 5),
    "etth": SeriesConfig(24, 7, encoder=3),
    "energy": SeriesConfig(24, 28, width=96, encoder=4, decoder=3),
    "odd": SeriesConfig(9, 1, width=12, heads=3, decoder=1),
    "shortest": SeriesConfig(4, 2, width=8, heads=1),
    "wide season": SeriesConfig(65, 33, width=16),
    "known": SeriesConfig(24, 3, width=16, known_input=True),
    "all": SeriesConfig(10, 4, width=16, encoder=2, values=(3, 2), end_input=True, known_input=True),
}


class Pair:
    """Our network, the one of PyTorch with its weights, and inputs."""

    def __init__(self, config: SeriesConfig):
        rng, fresh = np.random.default_rng(2), series_transformer(config, jax.random.key(0))

        def draw(leaf) -> jax.Array:
            scale = np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 5
            return jnp.asarray(rng.standard_normal(leaf.shape) / scale + (leaf if leaf.ndim == 1 else 0), jnp.float32)

        self.config, self.network = config, Network(jax.tree.map(draw, fresh.weights), fresh.structure)
        x, end = rng.standard_normal((2, B, *config.shape)).astype(np.float32)
        labels = np.stack([rng.integers(-1, count, B) for count in config.values], -1) if config.values else None
        self.given = (x, rng.random(B).astype(np.float32), BridgeCondition(end, rng.random(x.shape) < 0.5, labels))
        state = state_of(config, {name: np.asarray(leaf) for name, leaf in named(self.network.weights).items()})
        self.theirs = SeriesTransformer(config)
        self.theirs.load_state_dict({name: torch.from_numpy(array) for name, array in state.items()})
        self.theirs = self.theirs.double()

    def expected(self, dtype=np.float64) -> list[np.ndarray]:
        x, t, condition = self.given
        floats = [torch.from_numpy(each.astype(dtype)) for each in (x, t, condition.end)]
        more = [None if each is None else torch.from_numpy(each) for each in condition[1:]]
        with torch.no_grad():
            return [part.numpy() for part in self.theirs(*floats, *more)]


@cache
def pair(name: str) -> Pair:
    return Pair(CONFIGS[name])


def error(ours, theirs) -> float:
    return np.linalg.norm(np.asarray(ours, np.float64) - theirs) / np.linalg.norm(theirs)


@pytest.mark.parametrize("name", CONFIGS)
def test_trend_season_residual_and_their_sum_are_those_of_pytorch(name):
    both = pair(name)
    parts, expected = jax.jit(both.network.decompose)(*both.given), both.expected()
    assert error(jax.jit(both.network.__call__)(*both.given), sum(expected)) < TOLERANCE
    for part, ours, theirs in zip(parts._fields, parts, expected, strict=True):
        assert error(ours, theirs) < TOLERANCE, part


@pytest.mark.parametrize("name", CONFIGS)
def test_both_have_as_many_weights(name):
    theirs = sum(parameter.numel() for parameter in pair(name).theirs.parameters())
    assert theirs == weight_count(CONFIGS[name])


def test_slopes_are_those_of_pytorch():
    both = pair("all")
    x, t, condition = both.given

    def squared(weights, *given):
        return jnp.square(Network(weights, both.network.structure)(*given)).sum()

    weights, inputs = jax.jit(jax.grad(squared, (0, 1)))(both.network.weights, x, t, condition)
    given = torch.from_numpy(x.astype(np.float64)).requires_grad_()
    more = (
        torch.from_numpy(np.asarray(each)) for each in (t.astype(np.float64), condition.end.astype(np.float64), *condition[1:])
    )
    sum(both.theirs(given, *more)).square().sum().backward()
    assert error(inputs, given.grad.numpy()) < 3 * TOLERANCE
    slopes = named(weights)
    for name, theirs in (
        ("embedding/kernel", both.theirs.embedding.weight), ("residual/kernel", both.theirs.residual.weight),
        ("season/kernel", both.theirs.season.weight), ("decoder/1/trend/kernel", both.theirs.decoder[1].trend.weight),
    ):  # fmt: skip
        assert error(slopes[name], theirs.grad.numpy().T) < 3 * TOLERANCE, name
    split = both.theirs.decoder[0].split
    assert error(slopes["decoder/0/split/kernel"], split.weight.grad.numpy()[..., 0].T) < 3 * TOLERANCE
    assert error(slopes["decoder/0/split/bias"], split.bias.grad.numpy()) < 3 * TOLERANCE


def test_a_single_mistake_is_far_outside_of_the_tolerance(monkeypatch):
    """Each changes the estimate by more than a hundred tolerances, an approximate GELU by ten."""

    both = pair("all")
    expected = sum(both.expected())
    mistakes = {
        "season_size": lambda length: 2,
        "inverse_fourier": lambda length: length * fourier(length),  # as published: without 1 / L
        "polynomials": lambda length: (np.arange(length) / length)[:, None].astype(np.float32) ** np.arange(1, 4),
        "EPSILON": 1e-2,
        "TIMESTEPS": 999,
        "gelu": partial(jax.nn.gelu, approximate=True),
    }
    for name, mistake in mistakes.items():
        with monkeypatch.context() as patch:
            patch.setattr(series_transformer_module, name, mistake)
            got = jax.jit(partial(Network.__call__, both.network))(*both.given)  # compiled anew
        assert error(got, expected) > (10 if name == "gelu" else 100) * TOLERANCE, name
