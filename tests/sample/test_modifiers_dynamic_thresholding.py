"""Dynamic thresholding, as the sample program draws it; the policy itself is tested with the library."""

import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.errors import InputError
from jaxdiff.guidance import Unbounded
from jaxdiff.sampleset import SampleSet
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw
from tests.sample.modifying import STEPS, VALUES, by_hand, drawing_of, first, options_of, require_tau_of_its_own


@pytest.mark.parametrize("scale", [1.0, 4.0])
def test_it_rescales_a_mean_that_nothing_has_clipped(folder, scale):
    def make(model, null):
        inner = model.denoiser(Unbounded())
        return guidance.dynamic_thresholding(guidance.classifier_free(inner, null, scale), 90.0)

    drawn = first(drawing_of(options_of(folder, guidance_scale=scale, dynamic_thresholding=90.0)))
    np.testing.assert_allclose(drawn, by_hand(folder, make), atol=2e-5)
    clipped = by_hand(folder, lambda model, null: guidance.clipped(guidance.classifier_free(model.denoise, null, scale)))
    assert np.abs(drawn).max() <= 1 and np.abs(drawn - clipped).max() > 1e-3


def test_it_takes_the_place_of_every_clipping_of_the_nest(folder):
    options = {"method": "fair_diffusion", "dynamic_thresholding": 90.0}
    drawing = drawing_of(options_of(folder, **options))
    nest = [drawing.denoiser(drawing.method.condition(drawing.plan, np.arange(2), np.arange(2)))]
    kinds = []
    while isinstance(nest[-1], guidance.Guidance):
        kinds.append(type(nest[-1]).__name__)
        nest.append(nest[-1].denoiser)
    assert kinds == ["Thresholded", "Semantic", "Thresholded"]


def test_wrong_percentiles_are_errors(folder):
    with pytest.raises(InputError, match=r"--dynamic-thresholding must lie in \[0, 100\], got 120"):
        options_of(folder, dynamic_thresholding=120.0)


@pytest.mark.slow
def test_a_tau_is_valid_only_with_it(folder, tmp_path):
    options = VALUES["dynamic_thresholding"][0]
    require_tau_of_its_own(folder, tmp_path, "dynamic_thresholding", options, {"dynamic_thresholding": 90.0})


def test_an_unconditional_model_is_thresholded(unconditional, tmp_path):
    given = {"model": unconditional, "count": 4, "batch_size": 4, "solver": "ddim", "steps": STEPS}
    thresholded = {"dynamic_thresholding": 90.0}
    sets = [draw(made(Draw, out=tmp_path / str(n), **given, **options))[0] for n, options in enumerate([{}, thresholded])]
    one, two = ([SampleSet.open(path).image(i) for i in range(4)] for path in sets)
    assert not np.array_equal(one, two)
