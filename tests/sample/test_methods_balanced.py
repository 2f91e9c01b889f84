"""`--method balanced`: other attributes drawn from their marginals, whatever the group."""

import jax
import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from sample.command_line import made
from sample.draw import draw
from sample.drawing import Drawing
from sample.methods.balanced import Balanced
from sample.options import Draw
from tests.sample.modifying import drawing_of, options_of

COUNT, STEPS = 12, 3
ATTRIBUTES = (
    Attribute("hair", ("dark", "fair", "red")),
    Attribute("group", ("square", "round")),
    Attribute("hat", ("no", "yes")),
)
CHOSEN = {"method": "balanced", "attribute": "group", "solver": "ddim", "steps": STEPS}


@pytest.fixture(scope="module", params=[True, False], ids=["null", "no null"])
def folder(request, save_model, tmp_path_factory):
    """A model of three attributes: labels of all are given, so that it needs no null label."""
    return save_model(tmp_path_factory.mktemp("models") / "run", attributes=ATTRIBUTES, null_label=request.param)


@pytest.fixture(scope="module")
def alone(save_model, tmp_path_factory):
    """A model of one attribute."""
    return save_model(tmp_path_factory.mktemp("models") / "run")


def within(found: int, count: int, share: float) -> bool:
    """Whether a number of draws is within the binomial interval of 99.9 %."""
    low, high = binom.interval(0.999, count, share)
    return low <= found <= high


def test_a_set_is_drawn_with_the_labels_that_it_records(folder, tmp_path):
    (path,) = draw(made(Draw, model=folder, out=tmp_path / "set", count=COUNT, batch_size=5, seed=3, **CHOSEN))
    samples, model = SampleSet.open(path), models.load(folder)
    np.testing.assert_array_equal(samples.labels[:, 1], np.arange(COUNT) % 2)
    assert samples.labels.min() == 0 and len(np.unique(samples.labels, axis=0)) > 4
    assert samples.provenance["marginals"] == {"hair": [1 / 3] * 3, "hat": [0.5, 0.5]}
    assert samples.provenance["evaluations"] == STEPS
    x = sample(
        model.denoise, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(3),
        condition=model.conditions.encode(samples.labels),
    )  # fmt: skip
    shown = np.stack([samples.image(i) for i in range(COUNT)])
    assert np.abs(shown.astype(int) - model.space.decode(x)).max() <= 1
    # fewer images are the first of more, in other batches
    (path,) = draw(made(Draw, model=folder, out=tmp_path / "fewer", count=4, batch_size=5, seed=3, **CHOSEN))
    np.testing.assert_array_equal(SampleSet.open(path).labels, samples.labels[:4])
    np.testing.assert_array_equal(np.stack([SampleSet.open(path).image(i) for i in range(4)]), shown[:4])


@pytest.mark.parametrize("shares", [None, (0.2, 0.0, 0.8)])
def test_values_have_their_shares_in_every_group_and_combination(folder, shares):
    """4,000 labels: each count within its binomial interval, and another seed draws others."""
    given = {} if shares is None else {"marginals": (f"hair={','.join(map(str, shares))}",)}
    rows = drawing_of(options_of(folder, **CHOSEN, **given)).labels(np.arange(4000) % 2)
    for group in (0, 1):
        of_group = rows[rows[:, 1] == group]
        for hair, share in enumerate(shares or (1 / 3,) * 3):
            for hat in (0, 1):
                found = ((of_group[:, 0] == hair) & (of_group[:, 2] == hat)).sum()
                assert within(found, len(of_group), share / 2), (group, hair, hat)
    other = drawing_of(options_of(folder, **CHOSEN, **given, seed=1)).labels(np.arange(4000) % 2)
    np.testing.assert_array_equal(other[:, 1], rows[:, 1])
    assert within((other[:, 2] == rows[:, 2]).sum(), 4000, 0.5)


def test_a_chosen_combination_leaves_the_rest_to_be_drawn(folder):
    drawing = drawing_of(options_of(folder, **{**CHOSEN, "attribute": "group+hat"}))
    rows = drawing.labels(np.arange(40) % 4)
    np.testing.assert_array_equal(rows[:, 1] * 2 + rows[:, 2], np.arange(40) % 4)
    assert drawing.method.shares(drawing.chosen) == {"hair": (1 / 3,) * 3}


@pytest.mark.parametrize(
    ("marginals", "message"),
    [
        (("beard=0.5,0.5",), r"shares of hair \(3 values\), hat \(2 values\); got 2 of 'beard'"),
        (("hair=0.5,0.5",), "got 2 of 'hair'"),
        (("group=0.5,0.5",), "got 2 of 'group'"),
        (("hat=0.5,0.6",), "sum to 1, as glasses=0.7,0.3; got hat=0.5,0.6"),
        (("hat=-0.5,1.5",), "shares of at least 0"),
        (("hat",), "got hat"),
        (("hat=nan,1",), "got hat=nan,1"),
        (("hat=0.5,0.5", "hat=1,0"), "each attribute once"),
    ],
)
def test_wrong_marginals_are_errors(folder, marginals, message):
    with pytest.raises(InputError, match=message):
        drawing_of(options_of(folder, **CHOSEN, marginals=marginals))


def test_a_model_of_one_attribute_is_refused_before_it_draws(alone, tmp_path):
    with pytest.raises(InputError, match="needs a model of other attributes than --attribute group; this one has group"):
        draw(made(Draw, model=alone, out=tmp_path / "set", **CHOSEN))
    chosen = drawing_of(options_of(alone)).chosen
    with pytest.raises(InputError, match="needs a model of other attributes"):
        Drawing(chosen, Balanced()).trace(4)
