"""Training of images of any shape and channels, of unconditional models, and of classifiers for them."""

import jax.numpy as jnp
import numpy as np
import pytest

import train.__main__
import train.loop
from jaxdiff import load_classifier
from jaxdiff import model as models
from jaxdiff.conditions import Unconditional
from jaxdiff.data import Attribute, load_arrays
from jaxdiff.models.config import UNetConfig
from jaxdiff.presets import PRESETS, Preset
from jaxdiff.spaces import Pixels

NETWORK = UNetConfig(base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2)
DATA = ("--data", "data.npz", "--size", "8x12")


@pytest.fixture
def trained(call_program, monkeypatch, tmp_path):
    """Trains the smallest network on 300 images of four channels, larger than they are trained on."""
    monkeypatch.setitem(PRESETS, "tiny", Preset("for tests", NETWORK, steps=2, batch_size=8))
    rng = np.random.default_rng(0)
    images, split = rng.integers(0, 256, (360, 10, 15, 4), np.uint8), np.repeat(["train", "validation", "test"], 120)
    np.savez(tmp_path / "data.npz", images=images, labels=np.arange(360) % 2, attributes=["group"], split=split)
    return lambda *arguments: call_program(train.__main__.main, "train", *arguments)


def test_an_unconditional_model_of_four_channels(trained, tmp_path, capsys):
    assert trained(*DATA, "--unconditional", "--preview-every", "2", "--out", "run") == 0
    assert "8x12 RGB and transparency" in " ".join(capsys.readouterr().out.split())
    model = models.load(tmp_path / "run")
    assert model.conditions == Unconditional() and model.space == Pixels(8, 12, 4)
    assert len(list((tmp_path / "run" / "previews").iterdir())) == 1


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_those_that_are_asked_for(channels, trained, monkeypatch):
    """Of the network and of the images that it is given; test_grey_folder.py trains one of them whole."""
    started = []
    monkeypatch.setattr(train.loop, "train", lambda options, task, source, mesh: started.append((task, source)) or 0)
    assert trained(*DATA, "--channels", channels, "--preview-every", "0", "--out", "run") == 0
    ((task, source),) = started
    assert task.network.channels == channels and source.image(0).shape == (8, 12, channels)


def test_a_classifier_takes_the_shape_of_its_model(trained, save_model, tmp_path):
    save_model(tmp_path / "model", size=(8, 12), channels=1)
    assert (
        trained("classifier", "--data", "data.npz", "--attribute", "group", "--model", "model", "--steps", "2", "--out", "odds")
        == 0
    )
    classifier = load_classifier(tmp_path / "odds")
    assert classifier.shape == (8, 12, 1)
    odds = classifier.log_odds(("0",))(jnp.zeros((2, 8, 12, 1)), 0.5)
    assert odds.shape == (2,) and np.isfinite(odds).all()


def test_a_classifier_takes_combinations_of_attributes(trained, tmp_path, monkeypatch, capsys):
    """Names, labels and shares of the product of two attributes, in all splits."""
    labels = np.stack([np.arange(360) % 2, np.arange(360) // 2 % 3], 1)
    with np.load(tmp_path / "data.npz") as held:
        np.savez(tmp_path / "data.npz", **{**held, "labels": labels, "attributes": ["group", "hat"]})
    started = []
    monkeypatch.setattr(train.loop, "train", lambda options, task, source, mesh: started.append((task, source)) or 0)
    asked = ("classifier", "--data", "data.npz", "--size", "8x12", "--channels", "4", "--out", "odds", "--attribute")
    assert trained(*asked, "hat+group") == 0
    ((task, source),) = started
    for each, part in ((source, slice(120)), *zip(task.held_out.values(), (slice(120, 240), slice(240, 360)), strict=True)):
        (attribute,) = each.attributes
        assert attribute == Attribute("hat+group", ("0+0", "0+1", "1+0", "1+1", "2+0", "2+1"))
        np.testing.assert_array_equal(each.labels[:, 0], 2 * labels[part, 1] + labels[part, 0])
        assert load_arrays(each, count=3)[0].shape == (3, 8, 12, 4)
    np.testing.assert_allclose(task.objective.shares, [1 / 6] * 6)
    assert trained(*asked, "hat+hat") == 2
    assert "--attribute joins different attributes by +, got hat+hat" in " ".join(capsys.readouterr().err.split())
    assert trained(*asked, "hat+age") == 2
    assert "unknown attribute 'age'; it has group, hat" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--size", "8x"), "--size takes a number of pixels of at most five digits, or HEIGHTxWIDTH as in 24x40, got '8x'"),
        (("--size", "8x9x7"), "got '8x9x7'"),
        (("--size", "0"), "got '0'"),
        (("--size", "8x13"), "(=(8, 13)) must be divisible by 2"),
        (("--unconditional", "--attributes", "group"), "--unconditional takes no --attributes, got group"),
    ],
)
def test_sizes_and_conditions_that_cannot_be_are_refused(arguments, words, trained, capsys):
    assert trained("--data", "data.npz", *arguments, "--out", "run") == 2
    assert words in " ".join(capsys.readouterr().err.split())
