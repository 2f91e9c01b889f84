"""Readers of models: files of jaxdiff, folders and files of other programs, and classifiers."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy

import jaxdiff
from jaxdiff import classifier, interop, model, torch_file, weight_file
from jaxdiff._console.classifiers import onnx_classifier
from jaxdiff.boundary import read_json, reading
from jaxdiff.calibration import Calibration
from jaxdiff.data import Attribute
from jaxdiff.interop import autoencoder_config, latent_networks, torch_names, unet_condition_config, weights
from jaxdiff.interop.weights import STEM
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, abstract, condition_unet, latent_decoder, latent_encoder, noised_classifier
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.process import ddpm, vp_linear
from jaxdiff.quality import inception
from tests.evaluate import onnx_files
from tests.fuzzing.property import Target
from tests.interop.folders import WEIGHTS, model_of, parts
from tests.interop.test_checkpoint_files import split
from tests.interop.test_torch_file import in_a_row, saved, storage, tensor

SMALL = {"size": 4, "base": 8, "multipliers": (1,), "blocks": 1, "attention": (), "head_channels": 8, "dropout": 0.0}
GROUP = (Attribute("group", ("a", "b")),)


def _check(read: model.Model) -> None:
    assert read.config.values == tuple(len(each.values) for each in read.conditions.attributes)
    assert read.process.timesteps >= 1 and np.isfinite(read.process.log_snr(0.5)) and read.shape == read.config.shape
    assert isinstance(read.training, dict) and len(read.fingerprint) == 16
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(read.network.weights))
    json.dumps(model.describe(read))


def _check_classifier(read: classifier.NoisedClassifier) -> None:
    values = len(read.attribute.values)
    assert values == read.config.values == len(read.shares) == read.calibration.offsets.shape[1]
    assert abs(sum(read.shares) - 1) < 1e-3 and np.isfinite(read.calibration.slopes).all()
    read.log_odds(read.attribute.values[:1])


def _small(process: Any = None, values: tuple[Attribute, ...] = GROUP, **more: Any) -> model.Model:
    return model_of(UNetConfig(**{**SMALL, "values": (2,) * len(values), **more}), values, process=process)


def _classifier() -> classifier.NoisedClassifier:
    config = ClassifierConfig(**SMALL, values=2)
    made = jax.eval_shape(partial(noised_classifier, config), jax.random.key(0))
    network = type(made)(jax.tree.map(lambda leaf: jnp.ones(leaf.shape), made.weights), made.structure)
    return classifier.NoisedClassifier(config, network, vp_linear(), GROUP[0], (0.5, 0.5), Calibration.identity(2), {"step": 1})


def _run(folder: Path) -> Path:
    model.save(folder / "run", _small())
    return folder / "run"


def _classifier_run(folder: Path) -> Path:
    classifier.save(folder / "run", _classifier())
    return folder / "run"


def _described(made: Callable[[Path], Path], kind: weight_file.Kind, load: Callable[[Path], Any]) -> Target:
    """A reader of the description in a weight file, whose fingerprint is right whatever the description is."""
    arrays: dict[str, np.ndarray] = {}

    def written(folder: Path) -> Path:
        read = weight_file.read(made(folder), kind)
        arrays.update(read.arrays)
        read.file.unlink()
        (folder / "run" / "description.json").write_text(json.dumps(read.description))
        return folder / "run"

    def read(path: Path) -> None:
        text = (path / "description.json").read_bytes().decode(errors="replace")
        try:
            digest = weight_file.fingerprint(arrays, json.loads(text))
        except (ValueError, TypeError, RecursionError):
            digest = "0" * 16
        safetensors.numpy.save_file(arrays, path / kind.file, metadata={"jaxdiff": text, "fingerprint": digest})
        load(path)

    return Target(written, read, files="*.json")


def _load(path: Path) -> None:
    _check(jaxdiff.load(path))


def _load_classifier(path: Path) -> None:
    _check_classifier(classifier.load_classifier(path))


def _own_folder(folder: Path) -> Path:
    """A folder that jaxdiff wrote, with what the format cannot hold in the header of the weights."""
    interop.save(folder / "out", _small(base=32, head_channels=32))
    return folder / "out"


def _foreign(folder: Path) -> Path:
    """A folder as others write it."""
    interop.save(folder / "out", _small(process=ddpm("linear"), values=(), base=32, head_channels=32))
    state, _ = parts(folder / "out")
    safetensors.numpy.save_file(state, folder / "out" / WEIGHTS, metadata={"format": "pt"})
    return folder / "out"


def _sharded(folder: Path) -> Path:
    path = _foreign(folder)
    state, _ = parts(path)
    (path / WEIGHTS).unlink()
    split(path, state)
    return path


def _of_torch(folder: Path) -> Path:
    path = _foreign(folder)
    state, _ = parts(path)
    (path / WEIGHTS).unlink()
    saved(path / f"unet/{STEM}.bin", state)
    return path


LATENT = {"widths": (4,), "blocks": 1, "groups": 2}
UNET = ConditionUNetConfig(size=4, **LATENT, attention=(), transformers=(1,), heads=(1,), text_channels=2)
AUTOENCODER = autoencoder_config.Autoencoder(AutoencoderConfig(size=4, latent_channels=1, **LATENT), 1.0, 0.0)


def _zeros(make: Callable[..., Network], config: Any) -> Network:
    made = abstract(make, config)
    return Network(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), made.weights), made.structure)


def _part(folder: Path, settings: dict[str, Any], state: dict[str, np.ndarray]) -> Path:
    """The folder of a part of a pipeline."""
    (folder / "config.json").write_text(json.dumps(settings))
    safetensors.numpy.save_file(state, folder / f"{STEM}.safetensors")
    return folder


def _latent_unet(folder: Path) -> Path:
    return _part(folder, unet_condition_config.written(UNET), torch_names.to_torch(_zeros(condition_unet, UNET)))


def _autoencoder(folder: Path) -> Path:
    halves = [_zeros(make, AUTOENCODER.config) for make in (latent_encoder, latent_decoder)]
    return _part(folder, *latent_networks.exported_autoencoder(AUTOENCODER, *halves))


def _load_latent_unet(path: Path) -> None:
    with reading(path):
        config = unet_condition_config.read(read_json(path / "config.json"), name="config.json")
        _check_weights(latent_networks.imported_unet(config, weights.read_file(path / f"{STEM}.safetensors").held))


def _load_autoencoder(path: Path) -> None:
    with reading(path):
        read = autoencoder_config.read(read_json(path / "config.json"), name="config.json")
        assert 0 < read.scaling_factor < np.inf and np.isfinite(read.shift_factor)
        for network in latent_networks.imported_autoencoder(read.config, weights.read_file(path / f"{STEM}.safetensors").held):
            _check_weights(network)


def _check_weights(network: Network) -> None:
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(network.weights))


def _torch_file(folder: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal((2, 3), np.float32) for name in ("conv_in.weight", "conv_out.weight")}
    return saved(folder / "weights.pt", arrays)


def _old_torch_file(folder: Path) -> Path:
    numbers = np.arange(6, dtype=np.float32)
    value = {"weight": tensor(storage("Float", "0", 6, legacy=True), (2, 3), (3, 1)), "step": 3, "name": "x"}
    return in_a_row(folder / "old.pth", value, {"0": numbers})


def _load_torch(path: Path) -> None:
    def check(held: Any) -> None:
        if isinstance(held, np.ndarray):
            assert not held.flags.writeable and held.nbytes <= path.stat().st_size
            held.sum() if held.dtype != bool and held.dtype.kind in "iuf" else held.any()
        elif isinstance(held, dict):
            for each in held.values():
                check(each)

    with np.errstate(all="ignore"):
        check(torch_file.load(path))


def _onnx(folder: Path) -> Path:
    return onnx_files.redder_than_green(folder / "classifier.onnx")


def _load_onnx(path: Path) -> None:
    with np.errstate(all="ignore"):
        loaded = onnx_classifier.load(path, option="--classifier", values=("green", "red"))
        usable = loaded.tried(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
        assert usable.predict(np.zeros((2, 4, 4, 3), np.uint8)).max() < 2


CONVOLUTIONS = {"one": (1, 1, 3, 2), "two": (3, 1, 2, 2)}
"""Of Inception, whose own take a second to read."""


def _inception_of_torch(folder: Path) -> Path:
    state = {}
    for name, (height, width, inputs, outputs) in CONVOLUTIONS.items():
        state[f"{name}.conv.weight"] = np.ones((outputs, inputs, height, width), np.float32)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.{part}"] = np.ones(outputs, np.float32)
    return saved(folder / "weights.pth", state)


def _inception_converted(folder: Path) -> Path:
    with patch.object(inception, "shapes", lambda: CONVOLUTIONS):
        return inception.convert(_inception_of_torch(folder))


def _load_inception(path: Path) -> None:
    with patch.object(inception, "shapes", lambda: CONVOLUTIONS):
        read = inception.load(path)
    for name, shape in CONVOLUTIONS.items():
        assert read.weights[name]["kernel"].shape == shape and read.weights[name]["bias"].shape == shape[-1:]
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(read.weights))
    json.dumps(read.describe())


MODELS: dict[str, Target] = {
    "model": Target(_run, _load),
    "model's description": _described(_run, weight_file.MODEL, _load),
    "classifier of noised images": Target(_classifier_run, _load_classifier),
    "classifier's description": _described(_classifier_run, weight_file.CLASSIFIER, _load_classifier),
    "diffusers, written here": Target(_own_folder, _load, examples=30),
    "diffusers": Target(_foreign, _load),
    "diffusers, its settings": Target(_foreign, _load, files="*.json"),
    "diffusers, in shards": Target(_sharded, _load, files="*.json"),
    "diffusers, .bin": Target(_of_torch, _load, examples=30),
    "UNet of latents": Target(_latent_unet, _load_latent_unet, examples=30),
    "UNet of latents, its settings": Target(_latent_unet, _load_latent_unet, files="*.json"),
    "autoencoder": Target(_autoencoder, _load_autoencoder, examples=30),
    "autoencoder, its settings": Target(_autoencoder, _load_autoencoder, files="*.json"),
    "file of torch": Target(_torch_file, _load_torch, examples=100),
    "file of torch before 1.6": Target(_old_torch_file, _load_torch, examples=100),
    "classifier in ONNX": Target(_onnx, _load_onnx),
    "Inception": Target(_inception_converted, _load_inception, files="*.safetensors"),
    "Inception, of PyTorch": Target(_inception_of_torch, _load_inception),
}
