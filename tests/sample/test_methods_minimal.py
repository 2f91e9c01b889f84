"""`--method minimal`: the stated guidance, its record for each image, and plain samplers at both ends."""

import jax
import numpy as np
import pytest

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw
from tests.sample.modifying import STEPS, drawing_of, first, options_of

COUNT = 8


@pytest.fixture(scope="module")
def drawn(folder, tmp_path_factory):
    """A set: `drawn(method, **options)`."""

    def make(method="minimal", **options):
        given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": COUNT, **options}
        (path,) = draw(made(Draw, model=folder, out=tmp_path_factory.mktemp("sets") / "set", method=method, **given))
        return SampleSet.open(path)

    return make


def images(samples):
    return np.stack([samples.image(i) for i in range(len(samples))])


def test_a_set_is_the_guidance_and_records_when_each_image_was_conditioned(folder, drawn):
    model, own = models.load(folder), np.arange(COUNT) % 2
    rows = lambda labels: model.conditions.encode(np.asarray(labels, np.int32))  # noqa: E731
    # the network is untrained, so that its posteriors are far from both ends
    led = guidance.minimal(model.denoise, model.process, target=0.5, values=2, window=(0.01, 20.0))
    x, memory = sample(
        led, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0),
        condition=(rows(np.full(COUNT, -1)), (rows(own), rows(1 - own))), return_memory=True,
    )  # fmt: skip
    conditioned = np.asarray(memory.own[0])
    assert 0 < conditioned.sum() < COUNT
    samples = drawn(least_posterior=0.5, posterior_window=(0.01, 20.0))
    np.testing.assert_array_equal(samples.labels[:, 0], own)
    assert np.abs(images(samples).astype(int) - model.space.decode(x)).max() <= 1
    notes = samples.sample_notes()
    np.testing.assert_array_equal(notes["acted"] > 0, conditioned)
    np.testing.assert_array_equal(np.isnan(notes["first_snr"]), ~conditioned)
    about = samples.provenance
    assert (about["least_posterior"], about["posterior_window"]) == (0.5, [0.01, 20.0])
    assert STEPS < about["evaluations"] < 3 * STEPS
    np.testing.assert_array_equal(
        images(drawn(least_posterior=0.5, posterior_window=(0.01, 20.0), batch_size=3)), images(samples)
    )


def test_both_ends_are_the_plain_methods_bit_for_bit(folder):
    for least, method in ((0.0, "unconditional"), (1.0, "vanilla")):
        drawing = drawing_of(options_of(folder, method="minimal", least_posterior=least))
        assert drawing.evaluations == STEPS
        np.testing.assert_array_equal(first(drawing), first(drawing_of(options_of(folder, method=method))))


def test_a_set_whose_images_a_gate_refuses_keeps_its_records(folder):
    drawing = drawing_of(options_of(folder, method="minimal"))
    assert drawing.undrawn(3).keys() == {"acted", "looked", "strongest", "first_snr", "last_snr"}
    assert drawing_of(options_of(folder)).undrawn(3) == {}


def test_infinity_is_recorded_as_text_and_a_wrong_window_is_an_error(folder):
    drawing = drawing_of(options_of(folder, method="minimal", posterior_window=(0.0, float("inf"))))
    assert drawing.settings()["posterior_window"] == [0.0, "inf"] and drawing.evaluations == 3 * STEPS
    with pytest.raises(InputError, match="--posterior-window takes two SNR values"):
        options_of(folder, method="minimal", posterior_window=(1.0, 0.5))
