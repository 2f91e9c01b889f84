"""The guidance interval, as the sample program draws it; the guidance itself is tested with the library."""

import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.errors import InputError
from sample.command_line import made
from sample.options import Search
from tests.sample.modifying import UNSAFE, VALUES, by_hand, drawing_of, evaluations_made, first, options_of, plain

pytestmark = pytest.mark.usefixtures("own_cache")


def test_it_wraps_the_guidance_and_uses_the_plain_denoiser_outside(folder):
    def make(model, null):
        guided = guidance.classifier_free(model.denoise, null, 2.0)
        return guidance.clipped(guidance.interval(guided, model.process, model.denoise, window=(0.01, 1.0)))

    drawn = first(drawing_of(options_of(folder, modifiers=["interval"])))
    np.testing.assert_allclose(drawn, by_hand(folder, make), atol=2e-5)
    everywhere = by_hand(folder, lambda model, null: guidance.clipped(guidance.classifier_free(model.denoise, null, 2.0)))
    assert min(np.abs(drawn - other).max() for other in (plain(folder), everywhere)) > 1e-3


@pytest.mark.bits
def test_an_empty_interval_is_plain_sampling_bit_for_bit(folder):
    drawn = first(drawing_of(options_of(folder, guidance_scale=2.0, guidance_interval=(0.5, 0.5))))
    np.testing.assert_array_equal(drawn, plain(folder))


@pytest.mark.parametrize(
    "method", ["switching", *(pytest.param(each, marks=pytest.mark.slow) for each in ("vanilla", "mixing"))]
)
def test_a_step_outside_costs_what_plain_sampling_does(folder, method, monkeypatch):
    drawing = drawing_of(options_of(folder, method=method, modifiers=["interval"]))
    assert evaluations_made(drawing, monkeypatch) == drawing.evaluations
    full = drawing_of(options_of(folder, method=method, guidance_scale=2.0))
    none = drawing_of(options_of(folder, method=method))
    assert none.evaluations < drawing.evaluations < full.evaluations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"guidance_interval": (0.1, 1.0)}, "also give a --guidance-scale other than 1"),
        ({"guidance_scale": 2.0, "guidance_interval": (1.0, 0.1)}, "takes two SNR values, 0 <= low <= high"),
        (
            {"guidance_scale": 2.0, "guidance_interval": (0.1, 1.0), **UNSAFE, "anchor": "unconditional"},
            "applies plain classifier-free guidance itself and does not support --guidance-interval",
        ),
    ],
    ids=str,
)
def test_options_that_cannot_be_combined_are_errors(options, message, folder):
    with pytest.raises(InputError) as caught:
        options_of(folder, **options)
    assert message in str(caught.value)


def test_a_search_by_a_criterion_does_not_take_it(folder):
    with pytest.raises(InputError, match="a search does not support --guidance-interval, .* draw with --tau"):
        made(Search, model=folder, **VALUES["interval"][0])
    made(Search, model=folder, objective="parity", **VALUES["interval"][0])
