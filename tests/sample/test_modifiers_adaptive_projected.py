"""Adaptive projected guidance, as the sample program draws it; the guidance itself is tested with the library."""

import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff.errors import InputError
from sample.command_line import made
from sample.options import Search
from tests.sample.modifying import (
    VALUES,
    by_hand,
    drawing_of,
    evaluations_made,
    first,
    options_of,
    plain,
    require_tau_of_its_own,
)


def test_it_takes_the_place_of_plain_guidance(folder):
    def make(model, null):
        return guidance.clipped(guidance.adaptive_projected(model.denoise, null, 2.0))

    drawing = drawing_of(options_of(folder, modifiers=["adaptive_projected"]))
    assert [ready.modifier.name for ready in drawing.chosen.nest.modifiers] == ["adaptive_projected"]
    drawn = first(drawing)
    np.testing.assert_allclose(drawn, by_hand(folder, make), atol=2e-5)
    unprojected = by_hand(folder, lambda model, null: guidance.clipped(guidance.classifier_free(model.denoise, null, 2.0)))
    assert min(np.abs(drawn - other).max() for other in (plain(folder), unprojected)) > 1e-3


@pytest.mark.bits
def test_without_projection_it_is_plain_guidance_bit_for_bit(folder):
    whole = {"adaptive_projected": True, "projected_eta": 1.0, "projected_momentum": 0.0}
    drawn = first(drawing_of(options_of(folder, guidance_scale=2.0, **whole)))
    np.testing.assert_array_equal(drawn, first(drawing_of(options_of(folder, guidance_scale=2.0))))


def test_it_costs_what_plain_guidance_does(folder, monkeypatch):
    drawing = drawing_of(options_of(folder, method="mixing", modifiers=["adaptive_projected"]))
    plainly = drawing_of(options_of(folder, method="mixing", guidance_scale=2.0))
    assert evaluations_made(drawing, monkeypatch) == drawing.evaluations == plainly.evaluations


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adaptive_projected": True}, "also give a --guidance-scale other than 1"),
        ({"projected_eta": 0.5}, "--projected-eta needs --adaptive-projected, which enables adaptive_projected"),
        ({"guidance_scale": 2.0, "adaptive_projected": True, "projected_momentum": 1.0}, "must lie in (-1, 1), got 1"),
        ({"guidance_scale": 2.0, "adaptive_projected": True, "projected_radius": -1.0}, "must be at least 0, got -1"),
    ],
    ids=str,
)
def test_options_that_cannot_be_combined_are_errors(options, message, folder):
    with pytest.raises(InputError) as caught:
        options_of(folder, **options)
    assert message in str(caught.value)


@pytest.mark.slow
def test_a_tau_is_valid_only_with_it(folder, tmp_path):
    options = VALUES["adaptive_projected"][0]
    require_tau_of_its_own(folder, tmp_path, "adaptive_projected", options, {"projected_eta": 0.5})
    with pytest.raises(InputError, match="--mode spectral does not support --adaptive-projected"):
        made(Search, model=folder, mode="spectral", **options)
