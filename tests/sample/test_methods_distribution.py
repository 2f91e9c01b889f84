"""`--method distribution`: the stated guidance by classifiers of combinations, and what does not fit."""

import jax
import numpy as np
import pytest

from jaxdiff import guidance, load_classifier
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.data.attributes import product_of
from jaxdiff.errors import InputError
from jaxdiff.process import vp_linear
from jaxdiff.solvers import DDIM, sample
from tests.sample.modifying import (
    GROUP,
    SIZE,
    STEPS,
    drawing_of,
    first,
    joint_classifier,
    options_of,
    plain,
    written_classifier,
)

HAT = ("hat", ("no", "yes"))


PATHS = {"hair": joint_classifier(), "hat": joint_classifier(*HAT, seed=1)}
OPTIONS = {
    "method": "distribution", "distribution_strength": 1.5, "joint_classifiers": tuple(PATHS.values()),
    "marginals": ("hat=0.2,0.8",),
}  # fmt: skip
OF_DATA = np.reshape(load_classifier(PATHS["hair"]).shares, (2, 3)).sum(0)
"""The shares of hair in the training data."""


def by_hand(folder, group):
    """What the library draws of these groups."""
    model = models.load(folder)
    targets = {"hair": np.array([OF_DATA, OF_DATA]), "hat": np.array([[0.2, 0.8], [0.2, 0.8]])}
    ratios = [load_classifier(PATHS[name]).log_ratio(GROUP, target) for name, target in targets.items()]
    of_group = lambda condition: condition[:, :2]  # noqa: E731  # the third column is the null label's
    led = guidance.clipped(guidance.density_ratio(model.denoise, model.process, ratios, strength=1.5, given=of_group))
    condition = model.conditions.encode(group[:, None])
    x = sample(led, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=condition)
    return np.asarray(x)


def test_it_is_the_guidance_by_the_ratios_of_its_classifiers(folder):
    drawing = drawing_of(options_of(folder, **OPTIONS))
    drawn = first(drawing)
    np.testing.assert_allclose(drawn, by_hand(folder, np.array([0, 1], np.int32)), atol=1e-5)
    assert np.abs(drawn - plain(folder)).max() > 1e-3
    found = drawing.settings()
    np.testing.assert_allclose(found["marginals"]["hair"], OF_DATA)
    assert found["marginals"]["hat"] == (0.2, 0.8) and found["evaluations"] == STEPS
    assert found["joint_classifiers"] == {name: load_classifier(path).fingerprint for name, path in PATHS.items()}
    # with the values in another order, image 0 is of the other group
    swapped = first(drawing_of(options_of(folder, **OPTIONS, values=("round", "square"))))
    np.testing.assert_allclose(swapped, by_hand(folder, np.array([1, 0], np.int32)), atol=1e-5)
    assert np.abs(swapped - drawn).max() > 1e-3


def test_strength_0_is_vanilla_bit_for_bit(folder):
    off = drawing_of(options_of(folder, method="distribution", distribution_strength=0.0))
    np.testing.assert_array_equal(first(off), first(drawing_of(options_of(folder))))


def test_what_does_not_fit_is_an_error(folder, tmp_path):
    hat = product_of((GROUP, Attribute(*HAT)))
    other = written_classifier(tmp_path / "process", vp_linear(), hat)
    larger = written_classifier(tmp_path / "size", models.load(folder).process, hat, size=2 * SIZE)
    shape = rf"takes images of shape \(16, 16, 3\), the model's are \({SIZE}, {SIZE}, 3\)"
    twice = (joint_classifier(), joint_classifier(seed=2))
    for given, message in (
        ({"joint_classifiers": ()}, "needs --joint-classifiers FOLDER"),
        ({"joint_classifiers": (other,)}, "--joint-classifiers .*process: this classifier was trained on images noised by"),
        ({"joint_classifiers": (larger,)}, f"--joint-classifiers .*size: it {shape}"),
        ({"joint_classifiers": twice}, "takes one classifier of each attribute, got two of 'hair'"),
        ({"joint_classifiers": (tmp_path / "none",)}, "none"),
        ({"marginals": ("hat=0.5,0.5",)}, r"--marginals takes shares of hair \(3 values\); got 2 of 'hat'"),
        ({"distribution_strength": -1.0}, "--distribution-strength must be at least 0"),
    ):
        with pytest.raises(InputError, match=message):
            drawing_of(options_of(folder, method="distribution", **given))


def test_a_classifier_of_other_combinations_is_an_error(save_model, tmp_path):
    attribute = Attribute("group", ("round", "square"))
    turned = save_model(tmp_path / "turned", attributes=(attribute,), size=SIZE)
    with pytest.raises(
        InputError, match="classifier of combinations of 'group' .round, square. with another attribute is needed"
    ):
        drawing_of(options_of(turned, method="distribution"))
