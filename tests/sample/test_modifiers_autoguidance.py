"""Autoguidance, as the sample program draws it; the guidance itself is tested with the library."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxdiff import guidance, parallel
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.process import vp_linear
from jaxdiff.sampleset import SampleSet
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw
from tests.sample.modifying import (
    SIZE,
    STEPS,
    by_hand,
    drawing_of,
    evaluations_made,
    first,
    options_of,
    plain,
    require_tau_of_its_own,
)


def test_it_wraps_the_network_and_lies_within_label_guidance(folder, guide):
    weak = models.load(guide).denoise

    def make(model, null):
        away = guidance.autoguidance(model.denoise, weak, 3.0)
        return guidance.clipped(guidance.classifier_free(away, null, 2.0))

    drawn = first(drawing_of(options_of(folder, guide=guide, guide_scale=3.0, guidance_scale=2.0)))
    np.testing.assert_allclose(drawn, by_hand(folder, make), atol=2e-5)
    assert np.abs(drawn - plain(folder)).max() > 1e-3


@pytest.mark.bits
def test_scale_1_is_plain_sampling_bit_for_bit(folder, guide):
    drawn = first(drawing_of(options_of(folder, guide=guide, guide_scale=1.0)))
    np.testing.assert_array_equal(drawn, plain(folder))


# the network is wrapped before any method sees it
QUICK = {"vanilla", "switching"}
COUNTED = ["vanilla", "switching", "spectral", "fair_diffusion", "editing"]


@pytest.mark.parametrize("method", [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in COUNTED])
def test_both_networks_are_counted(folder, guide, method, monkeypatch):
    drawing = drawing_of(options_of(folder, guide, method, ["autoguidance"]))
    assert evaluations_made(drawing, monkeypatch) == drawing.evaluations
    assert drawing.evaluations == 2 * drawing_of(options_of(folder, None, method)).evaluations


def test_both_networks_are_sharded_over_the_mesh(folder, guide):
    drawing = drawing_of(options_of(folder, guide, modifiers=["autoguidance"]))
    (ready,) = drawing.chosen.nest.modifiers
    weak, own = ready.around(lambda *_: None, None).weak.denoiser.network, drawing.chosen.model.network
    wanted = jax.tree.leaves(parallel.parameter_shardings(drawing.chosen.mesh, own))
    assert [leaf.sharding for leaf in jax.tree.leaves(weak)] == [leaf.sharding for leaf in jax.tree.leaves(own)] == wanted


def test_a_guide_of_another_kind_is_refused(folder, save_model, tmp_path):
    hair = (Attribute("hair", ("dark", "fair")),)
    others = {
        "space": save_model(tmp_path / "large", size=2 * SIZE),
        "process": save_model(tmp_path / "linear", size=SIZE, process=vp_linear()),
        "conditions": save_model(tmp_path / "hair", size=SIZE, attributes=hair),
    }
    for what, other in others.items():
        with pytest.raises(InputError, match=f"--guide .* must have the model's {what}: got .*, and the model has"):
            drawing_of(options_of(folder, guide=other))
    with pytest.raises(InputError, match="nowhere"):
        drawing_of(options_of(folder, guide=Path("nowhere")))
    with pytest.raises(InputError, match="--guide-scale needs --guide, which enables autoguidance"):
        options_of(folder, guide_scale=3.0)


@pytest.mark.slow  # as of safe latent guidance
def test_a_tau_is_valid_only_with_it(folder, guide, tmp_path):
    options = {"guide": guide, "guide_scale": 2.0}
    require_tau_of_its_own(folder, tmp_path, "autoguidance", options, {"guide_scale": 3.0})


def test_an_unconditional_model_is_guided(unconditional, save_model, tmp_path):
    weak = save_model(tmp_path / "weak", size=SIZE, attributes=(), seed=7)
    given = {"model": unconditional, "count": 4, "batch_size": 4, "solver": "ddim", "steps": STEPS}
    sets = [draw(made(Draw, out=tmp_path / str(scale), guide=weak, guide_scale=scale, **given))[0] for scale in (1.0, 3.0)]
    one, three = ([SampleSet.open(path).image(i) for i in range(4)] for path in sets)
    assert not np.array_equal(one, three)
