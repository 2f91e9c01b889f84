"""The model file: the model is restored exactly, and other files are refused with the reason."""

import dataclasses
import json
import re
import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy

import jaxdiff
from jaxdiff import model as models
from jaxdiff import weight_file
from jaxdiff.conditions import Labels
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.process import ddpm
from jaxdiff.spaces import Pixels

CONFIG = UNetConfig(
    size=8, values=(2, 3), base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
)
ATTRIBUTES = (Attribute("group", ("square", "round")), Attribute("hair", ("dark", "fair", "red")))


@pytest.fixture(scope="module")
def model() -> models.Model:
    """An untrained model whose output is not zero."""
    made, rng = jax.eval_shape(partial(unet, CONFIG), jax.random.key(0)), np.random.default_rng(1)
    weights = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.standard_normal(w.shape, np.float32)), made.weights)
    network = type(made)(weights, made.structure)
    return models.image_model(
        CONFIG, network, ddpm("linear", 500), "eps", ATTRIBUTES, {"step": 7, "data": "embedded", "seed": None}
    )


@pytest.fixture
def file(model, tmp_path):
    """The model's file."""
    models.save(tmp_path / "run", model)
    return tmp_path / "run" / "model.safetensors"


def parts(file):
    """Arrays and metadata of a safetensors file, read without jaxdiff."""
    with safetensors.safe_open(file, framework="numpy") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata()  # noqa: SIM118


def test_a_model_is_restored_bit_for_bit(model, tmp_path):
    fingerprint = models.save(tmp_path / "run", model)
    loaded = models.load(tmp_path / "run")
    assert loaded.network.structure == model.network.structure
    jax.tree.map(np.testing.assert_array_equal, loaded.network.weights, model.network.weights)
    for name in ("config", "prediction", "space", "conditions", "training", "shape"):
        assert getattr(loaded, name) == getattr(model, name)
    assert loaded.process.config() == model.process.config()
    np.testing.assert_array_equal(loaded.process.coefficients, model.process.coefficients)
    assert loaded.fingerprint == fingerprint and re.fullmatch("[0-9a-f]{16}", fingerprint)

    x = jax.random.normal(jax.random.key(2), (3, 8, 8, 3))
    t, condition = jnp.asarray([0.1, 0.5, 0.9]), jnp.asarray([[0, 2], [1, -1], [-1, 0]])
    denoise = jax.jit(lambda denoiser: denoiser(x, t, condition))
    before = np.asarray(denoise(model.denoise))
    assert before.std() > 0.1
    np.testing.assert_array_equal(denoise(loaded.denoise), before)


def test_a_folder_and_its_file_are_one_model(file):
    assert models.load(file).fingerprint == models.load(file.parent).fingerprint
    assert [each.name for each in file.parent.iterdir()] == ["model.safetensors"]


def test_different_models_have_different_fingerprints(model, tmp_path):
    fingerprint = lambda model: models.save(tmp_path, model)  # noqa: E731
    leaves, tree = jax.tree.flatten(model.network.weights)
    leaves[0] = leaves[0].at[(0,) * leaves[0].ndim].add(1e-6)
    others = [
        dataclasses.replace(model, network=type(model.network)(jax.tree.unflatten(tree, leaves), model.network.structure)),
        dataclasses.replace(model, config=dataclasses.replace(CONFIG, dropout=0.1)),
        dataclasses.replace(model, process=ddpm("linear", 501)),
        dataclasses.replace(model, prediction="v"),
        dataclasses.replace(model, conditions=Labels(ATTRIBUTES[::-1])),
        dataclasses.replace(model, conditions=Labels(ATTRIBUTES, has_null=False)),
        dataclasses.replace(model, space=Pixels(4, 16)),
    ]
    assert fingerprint(model) == fingerprint(model)
    assert len({fingerprint(each) for each in [model, *others]}) == 1 + len(others)


def test_labels_become_weights_with_a_null_for_each_attribute(model):
    expected = [[1, 0, 0, 0, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0], [0, 1, 0, 0, 0, 0, 1]]
    np.testing.assert_array_equal(model.conditions.encode(np.array([[0, 2], [-1, 0], [1, -1]])), expected)


@pytest.mark.parametrize(
    ("labels", "words"),
    [([[2, 0]], "attribute 0 must lie in -1 .null. .. 1"), ([[0, 3]], "attribute 1"), ([[-2, 0]], "-2"), ([0, 1], r"\(B, 2\)")],
)
def test_labels_out_of_range_are_refused(model, labels, words):
    with pytest.raises(InputError, match=words):
        model.conditions.encode(np.array(labels))


def test_attributes_are_found_by_name(model):
    assert model.conditions.attribute("hair") == (1, ATTRIBUTES[1])
    with pytest.raises(InputError, match="unknown attribute 'age'; known attributes: group, hair"):
        model.conditions.attribute("age")


@pytest.mark.parametrize("path", ["nowhere", "nowhere/model.safetensors", ""])
def test_a_missing_model_is_named_with_the_command_that_makes_it(tmp_path, path):
    with pytest.raises(InputError, match=f"{tmp_path / path}.*jaxdiff train"):
        models.load(tmp_path / path)


@pytest.mark.parametrize("kept", [0, 4, 0.1, 0.5, -1])
def test_a_half_written_file_is_refused(file, kept):
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(InputError, match="model.safetensors is damaged: .*incomplete"):
        models.load(file)


def test_a_flipped_bit_anywhere_is_refused(file):
    content = file.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in [*range(0, header, 29), *range(header, len(content), 20011), len(content) - 1]:
        damaged = bytearray(content)
        damaged[position] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=re.escape(str(file))):
            models.load(file)


def test_arrays_of_something_else_are_refused(tmp_path):
    safetensors.numpy.save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="contains arrays but no jaxdiff model"):
        models.load(tmp_path)


def rewritten(file, change, **description):
    """The file with its arrays changed, and a fingerprint that fits them."""
    arrays, metadata = parts(file)
    change(arrays)
    changed = {**json.loads(metadata["jaxdiff"]), **description}
    metadata = {"jaxdiff": json.dumps(changed), "fingerprint": weight_file.fingerprint(arrays, changed)}
    safetensors.numpy.save_file(arrays, file, metadata=metadata)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda arrays: arrays.pop("label_table"), "lacks 1 arrays of its network: label_table"),
        (lambda arrays: arrays.update(tail=np.zeros(2, np.float32)), "has 1 arrays that its network lacks: tail"),
        (lambda arrays: arrays.update(label_table=arrays["label_table"].T.copy()), r"label_table is float32 \(64, 7\)"),
        (lambda arrays: arrays.update(label_table=arrays["label_table"].view(np.int32)), r"its network has float32 \(7, 64\)"),
    ],
)
def test_arrays_that_do_not_fit_the_network_are_named(file, change, words):
    rewritten(file, change)
    with pytest.raises(InputError, match=words):
        models.load(file)


def test_another_format_is_named(file):
    rewritten(file, lambda arrays: None, format=99)
    with pytest.raises(InputError, match="has format 99, this version of jaxdiff reads format 1"):
        models.load(file)


@pytest.mark.parametrize("failing", ["os.replace", "safetensors.numpy.save_file"])
def test_a_failed_write_leaves_the_old_model(file, model, monkeypatch, failing):
    before = file.read_bytes()

    def full(arrays, path, **_):
        path = file.with_name(file.name + ".partial")
        path.write_bytes(before[:1000])
        raise OSError("no space left on device")

    with monkeypatch.context() as patched, pytest.raises(InputError, match="cannot write .*: no space"):
        patched.setattr(failing, full)
        models.save(file.parent, dataclasses.replace(model, training={"step": 8}))
    assert file.read_bytes() == before
    assert models.load(file.parent).training["step"] == 7
    models.save(file.parent, dataclasses.replace(model, training={"step": 8}))
    assert models.load(file.parent).training["step"] == 8


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda d: d.pop("process"), "has no 'process'"),
        (lambda d: d.pop("training"), "has no 'training'"),
        (lambda d: d.update(training=[1]), "its `training` must be an object"),
        (lambda d: d["network"].update(later=1), "settings that this version of jaxdiff does not know: later"),
        (lambda d: d["network"].update(blocks=10**7), "`blocks` must be at most 100, got 10000000"),
        (lambda d: d["network"].update(base=2**65), "`base` must be at most 65,536"),
        (lambda d: d["network"].update(base=4096), "describes a network of .* weights and holds"),
        (lambda d: d["network"].update(blocks=True), "`blocks` must be a whole number, got True"),
        (lambda d: d["network"].update(remat=1), "`remat` of its network must be true or false"),
        (lambda d: d["network"].update(multipliers=[1] * 10**4), "`multipliers` must be of 1 to 16 levels"),
        (lambda d: d.update(process={"name": "ddpm_linear", "timesteps": 10**12}), "at most 1,000,000"),
        (lambda d: d.update(process={"name": "ddpm_linear", "timesteps": True}), "does not take `timesteps` True"),
        (lambda d: d.update(process={"name": "vp_linear", "beta_max": "20"}), "does not take `beta_max`"),
        (lambda d: d.update(process={"name": "vp_linear", "beta_max": float("inf")}), "beta_max=inf"),
        (lambda d: d.update(process={"name": "vp_linear", "sigma_max": 5.0}), "process vp_linear does not take"),
        (lambda d: d.update(process={"name": ["vp_linear"]}), "unknown process"),
        (lambda d: d.update(prediction="noise"), "`prediction` must be one of"),
        (lambda d: d.update(attributes=[["group", ["a", "b", "c"]]]), "its attributes have"),
        (lambda d: d.update(attributes=[[1, [2, 3]]]), ""),
        (lambda d: d.update(space={"name": "pixels", "height": 10**9, "width": 8}), "`height` must be at most"),
    ],
)  # fmt: skip
def test_a_description_that_is_crafted_is_refused_before_anything_is_built(change, message, save_model, tmp_path):
    """The fingerprint is right, since anyone can compute it."""
    read = weight_file.read(save_model(tmp_path), weight_file.MODEL)
    change(read.description)
    metadata = {"jaxdiff": json.dumps(read.description), "fingerprint": weight_file.fingerprint(read.arrays, read.description)}
    safetensors.numpy.save_file(read.arrays, read.file, metadata=metadata)
    start = time.process_time()
    with pytest.raises(InputError, match=f"model.safetensors.*{message}"):
        jaxdiff.load(tmp_path)
    assert time.process_time() - start < 1
