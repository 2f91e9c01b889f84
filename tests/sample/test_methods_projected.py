"""`--method projected`: the stated guidance with the other attributes of the model."""

import jax
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.solvers import DDIM, sample
from tests.sample.modifying import STEPS, drawing_of, first, options_of

ATTRIBUTES = (
    Attribute("hair", ("dark", "fair", "red")),
    Attribute("group", ("square", "round")),
    Attribute("hat", ("no", "yes")),
)
CHOSEN = {"method": "projected", "attribute": "group"}


@pytest.fixture(scope="module")
def several(save_model, tmp_path_factory):
    """A model of three attributes."""
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=ATTRIBUTES)


def by_hand(folder, others, strength):
    """What the library draws, given the label rows of the other attributes' values."""
    model = models.load(folder)
    rows = lambda labels: model.conditions.encode(np.broadcast_to(np.asarray(labels, np.int32), (2, 3)))  # noqa: E731
    counts = tuple(map(len, others))
    led = guidance.clipped(guidance.projected(model.denoise, strength=strength, counts=counts))
    condition = rows((-1, -1, -1)), rows([(-1, 0, -1), (-1, 1, -1)]), tuple(tuple(map(rows, each)) for each in others)
    x = sample(led, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)
    return np.asarray(x)


HAIR = [(value, -1, -1) for value in range(3)]
HAT = [(-1, -1, value) for value in range(2)]


def test_it_is_the_guidance_without_the_attributes_that_are_named(several):
    every, hat = (
        drawing_of(options_of(several, **CHOSEN, label_strength=1.5, **given)) for given in ({}, {"without": ("hat",)})
    )
    assert (every.evaluations, hat.evaluations) == (7 * STEPS, 4 * STEPS)
    assert every.settings()["without"] == ["hair", "hat"] and hat.settings()["without"] == ["hat"]
    assert hat.settings()["label_strength"] == 1.5
    np.testing.assert_allclose(first(every), by_hand(several, (HAIR, HAT), 1.5), atol=1e-5)
    np.testing.assert_allclose(first(hat), by_hand(several, (HAT,), 1.5), atol=1e-5)
    assert np.abs(first(every) - first(hat)).max() > 1e-3


def test_strength_0_is_no_label_bit_for_bit(several):
    plain = drawing_of(options_of(several, method="unconditional", attribute="group"))
    np.testing.assert_array_equal(first(drawing_of(options_of(several, **CHOSEN, label_strength=0.0))), first(plain))


def test_what_does_not_fit_is_an_error(several, folder):
    with pytest.raises(InputError, match="--without takes other attributes of the model, hair, hat; got group"):
        drawing_of(options_of(several, **CHOSEN, without=("group",)))
    with pytest.raises(InputError, match="--method projected needs a model of other attributes than --attribute group"):
        drawing_of(options_of(folder, **CHOSEN))
    with pytest.raises(InputError, match="--label-strength must be at least 0"):
        options_of(several, **CHOSEN, label_strength=-1.0)
