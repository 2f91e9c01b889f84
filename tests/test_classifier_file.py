"""The file of a classifier: it is restored exactly, and damaged files or files of another kind are refused."""

import dataclasses
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiff
from jaxdiff import classifier as classifiers
from jaxdiff.calibration import Calibration
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.network import noised_classifier
from jaxdiff.process import vp_linear

CONFIG = ClassifierConfig(
    size=8, values=3, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
)


@pytest.fixture(scope="module")
def classifier() -> classifiers.NoisedClassifier:
    """An untrained classifier whose answers are not those of its prior, with a calibration."""
    made, rng = jax.eval_shape(partial(noised_classifier, CONFIG), jax.random.key(0)), np.random.default_rng(1)
    weights = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.standard_normal(w.shape, np.float32)), made.weights)
    return classifiers.NoisedClassifier(
        config=CONFIG,
        network=type(made)(weights, made.structure),
        process=vp_linear(0.2, 19.0),
        attribute=Attribute("hair", ("dark", "fair", "red")),
        shares=(0.7, 0.2, 0.1),
        calibration=Calibration(jnp.asarray([0.7, 1.3], jnp.float32), jnp.asarray(rng.random((2, 3)), jnp.float32)),
        training={"step": 7, "held_out": [{"log_loss": 0.1}]},
    )


@pytest.fixture
def file(classifier, tmp_path):
    """The classifier's file."""
    classifiers.save(tmp_path / "run", classifier)
    return tmp_path / "run" / "classifier.safetensors"


def test_a_classifier_is_restored_bit_for_bit(classifier, tmp_path):
    fingerprint = classifiers.save(tmp_path, classifier)
    loaded = jaxdiff.load_classifier(tmp_path)
    for name in ("config", "attribute", "shares", "training", "shape"):
        assert getattr(loaded, name) == getattr(classifier, name)
    assert loaded.process.config() == classifier.process.config() and loaded.fingerprint == fingerprint
    for part in ("network", "calibration"):
        leaves = (jax.tree.leaves(getattr(each, part)) for each in (loaded, classifier))
        jax.tree.map(np.testing.assert_array_equal, *leaves)
    x, t = jax.random.normal(jax.random.key(2), (3, 8, 8, 3)), jnp.asarray([0.1, 0.5, 0.9])
    evaluated = jax.jit(lambda log_odds: log_odds(x, t))
    before = np.asarray(evaluated(classifier.log_odds(("red",))))
    assert before.std() > 0.01
    np.testing.assert_array_equal(evaluated(loaded.log_odds(("red",))), before)
    assert [each.name for each in tmp_path.iterdir()] == ["classifier.safetensors"]


def test_different_classifiers_have_different_fingerprints(classifier, tmp_path):
    others = [
        dataclasses.replace(classifier, shares=(0.6, 0.3, 0.1)),
        dataclasses.replace(classifier, process=vp_linear()),
        dataclasses.replace(classifier, attribute=Attribute("hair", ("dark", "fair", "grey"))),
        dataclasses.replace(classifier, calibration=Calibration.identity(3)),
    ]
    assert len({classifiers.save(tmp_path, each) for each in [classifier, *others]}) == 5


def test_a_damaged_file_is_refused(file):
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in [*range(0, header, 53), *range(header, len(content), 9001), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"classifier\.safetensors"):
            jaxdiff.load_classifier(file)
    for kept in (0, 4, len(content) // 2, -1):
        file.write_bytes(content[:kept])
        with pytest.raises(InputError, match="damaged: .*incomplete"):
            jaxdiff.load_classifier(file.parent)


def test_a_missing_classifier_is_named_with_the_command_that_makes_it(tmp_path):
    with pytest.raises(InputError, match=f"no classifier at {tmp_path}.*`jaxdiff train classifier --out {tmp_path}`"):
        jaxdiff.load_classifier(tmp_path)


def test_the_wrong_kind_is_named_with_what_reads_it(file, save_model, tmp_path):
    model = save_model(tmp_path / "model")
    # the folder of one, the file of one, and a file of one under the other's name
    with pytest.raises(InputError, match=r"no model at .* it contains a classifier, which jaxdiff\.load_classifier reads"):
        jaxdiff.load(file.parent)
    with pytest.raises(InputError, match=r"no classifier at .* it contains a model, which jaxdiff\.load reads"):
        jaxdiff.load_classifier(model)
    with pytest.raises(InputError, match=r"contains a classifier, not a model; jaxdiff\.load_classifier reads it"):
        jaxdiff.load(file)
    with pytest.raises(InputError, match=r"contains a model, not a classifier; jaxdiff\.load reads it"):
        jaxdiff.load_classifier(model / "model.safetensors")
    shutil.copy(file, model / "model.safetensors")
    with pytest.raises(InputError, match="contains a classifier, not a model"):
        jaxdiff.load(model)
