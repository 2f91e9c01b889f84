"""Every method and every modifier that takes labels takes prompts: a network that sees either alike draws the same samples."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxdiff.conditions import Labels
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.model import Model
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network
from jaxdiff.process import vp_cosine
from jaxdiff.spaces import Pixels
from sample import setting as settings
from sample.command_line import made
from sample.options import Search
from sample.search import find
from tests.conditions import small_text
from tests.sample.modifying import LABELS, OF_LABELS, SIZE, STEPS, UNSAFE, drawing_of, first, options_of

GROUP = Attribute("group", ("square", "round"))
PROMPTS = ("a man", "a woman")
CONFIG = UNetConfig(size=SIZE, base=8, multipliers=(1,), blocks=1, attention=(), head_channels=8, values=(2,))


class OfVectors(nnx.Module):
    """A posterior mean that depends on a vector, linearly within a bounded function."""

    def __init__(self, width: int, table=None):
        self.weight = nnx.Param(jax.random.normal(jax.random.key(0), (width, SIZE * SIZE * 3)))
        self.table = None if table is None else nnx.Param(jnp.asarray(table))

    def __call__(self, x, t, condition):
        vector = condition["text"].mean(1) if self.table is None else condition @ self.table[...]
        return 0.3 * x + jnp.tanh(vector @ self.weight[...]).reshape(x.shape) * (1 - t / 2).reshape(-1, 1, 1, 1)


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Model]:
    """The model of prompts, and that of labels with the vectors of these prompts."""
    prompts = small_text.prompts(tmp_path_factory.mktemp("text")).with_prompts([GROUP], PROMPTS)
    table = prompts.encode_prompts([*PROMPTS, ""])["text"].mean(1)
    made = {}
    for name, conditions, rows in (("prompts", prompts, None), ("labels", Labels((GROUP,)), table)):
        network = Network(*reversed(nnx.split(OfVectors(table.shape[1], rows))))
        network = Network(nnx.to_pure_dict(network.weights), network.structure)
        made[name] = Model(
            config=CONFIG, network=network, process=vp_cosine(), prediction="x0", space=Pixels(SIZE, SIZE, 3),
            conditions=conditions, fingerprint=name,
        )  # fmt: skip
    return made


@pytest.fixture
def both(models, monkeypatch):
    """What a function of the model's name makes of both."""
    monkeypatch.setattr(settings, "load", lambda name: models[str(name)])
    return lambda make: (make("labels"), make("prompts"))


def close(pair, tolerance: float = 1e-5) -> None:
    np.testing.assert_allclose(*pair, atol=tolerance)
    assert np.std(pair[0]) > 0.05 and not np.array_equal(pair[0][0], pair[0][1])


# one end, two ends, and a condition of every value
QUICK = {"vanilla", "switching", "score_mixing"}


@pytest.mark.parametrize("method", [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in OF_LABELS])
def test_a_method_draws_with_prompts_as_with_labels(method, both):
    close(both(lambda name: first(drawing_of(options_of(name, method=method)))))


@pytest.mark.parametrize(
    "options",
    [
        {"guidance_scale": 3.0},
        pytest.param({"guidance_scale": 3.0, "guidance_interval": (0.01, 1.0)}, marks=pytest.mark.slow),
        pytest.param({"guidance_scale": 3.0, "adaptive_projected": True}, marks=pytest.mark.slow),
        {"guard": "negative", **LABELS, "strength": 0.5},
        {**UNSAFE, "strength": 0.5, "guidance_scale": 3.0, "anchor": "unconditional"},
    ],
    ids=lambda options: "-".join(options),
)
@pytest.mark.usefixtures("own_cache")
def test_a_modifier_acts_on_prompts_as_on_labels(options, both):
    close(both(lambda name: first(drawing_of(options_of(name, method="switching", **options)))))


def test_a_search_finds_the_same_tau_and_it_holds_for_its_prompts_alone(models, both):
    options = {"attribute": "group", "solver": "ddim", "steps": STEPS, "metric": "pixel", "batch": 4, "guidance_scale": 2.0}

    def search(name):
        given = made(Search, model=name, **options)
        found, _ = find(given, settings.setting(name, "group", (), given))
        return found

    labels, prompts = both(search)
    assert labels.tau == prompts.tau and np.ptp(labels.curve) > 0.01  # the conditions of a pair differ
    np.testing.assert_allclose(labels.curve, prompts.curve, atol=1e-5)
    assert "prompts" not in labels.context and prompts.context["prompts"] == list(PROMPTS)
    with pytest.raises(InputError, match="was found for"):
        prompts.require({**prompts.context, "prompts": ["a man", "a photo"]})


def test_one_prompt_without_attributes_is_drawn(models, both, monkeypatch):
    alone = replace(models["prompts"], conditions=models["prompts"].conditions.with_prompts((), ("a woman",)))
    monkeypatch.setitem(models, "alone", alone)
    drawn = first(drawing_of(options_of("alone", guidance_scale=2.0)))
    labelled = first(drawing_of(options_of("labels", guidance_scale=2.0, values=("round", "square"))))
    np.testing.assert_allclose(drawn[0], labelled[0], atol=1e-5)
    assert not np.array_equal(drawn[0], drawn[1])


def test_crossed_attributes_are_sampled_together(models, both, monkeypatch):
    attributes, prompts = [GROUP, Attribute("hair", ("dark", "red"))], ("a man", "a", "photo", "a woman")
    crossed = replace(models["prompts"], conditions=models["prompts"].conditions.with_prompts(attributes, prompts))
    monkeypatch.setitem(models, "crossed", crossed)
    with pytest.raises(InputError, match="gives prompts to combinations of values, so .* use --attribute group\\+hair"):
        drawing_of(options_of("crossed", attribute="group"))
    values = ("square+dark", "round+red")
    drawn = first(drawing_of(options_of("crossed", attribute="group+hair", values=values)))
    np.testing.assert_allclose(drawn, first(drawing_of(options_of("labels"))), atol=1e-5)
