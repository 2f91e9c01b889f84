"""Files of trained weights: safetensors with all that is needed to use them, written atomically."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import jax
import numpy as np
import safetensors
import safetensors.numpy

from jaxdiff.boundary import parse_json, reading, require_regular
from jaxdiff.bounds import bounds_of, check_values, shortened
from jaxdiff.errors import InputError
from jaxdiff.models.autoencoder import AutoencoderConfig
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.size import require_held
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.writing import whole

FORMAT = 1
Config = TypeVar("Config", UNetConfig, ClassifierConfig, ConditionUNetConfig, AutoencoderConfig, SeriesConfig)
PRIOR = "prior/"
"""What the names of the arrays of a bridge's prior begin with."""


@dataclass(frozen=True)
class Kind:
    """A kind of weight file.

    Attributes:
        name: its name, and the stem of the file name.
        loader: the function that reads it.
        command: the command that creates it.
    """

    name: str
    loader: str
    command: str

    @property
    def file(self) -> str:
        """The file name in the folder of a run."""
        return f"{self.name}.safetensors"


MODEL = Kind("model", "jaxdiff.load", "jaxdiff train")
CLASSIFIER = Kind("classifier", "jaxdiff.load_classifier", "jaxdiff train classifier")
KINDS = {kind.name: kind for kind in (MODEL, CLASSIFIER)}


@dataclass(frozen=True)
class Contents:
    """The content of a weight file.

    Attributes:
        file: its path.
        arrays: the weights by name.
        description: all else that is needed to use the weights.
        fingerprint: the first 16 hexadecimal digits of the SHA-256 of weights and description.
    """

    file: Path
    arrays: dict[str, np.ndarray]
    description: dict[str, Any]
    fingerprint: str

    @property
    def prior(self) -> dict[str, np.ndarray]:
        """The arrays of the prior of a bridge, by name; empty for other models."""
        return {name.removeprefix(PRIOR): array for name, array in self.arrays.items() if name.startswith(PRIOR)}

    def fill(self, config: Config, abstract: Callable[[Config], Network]) -> Network:
        """A network with these weights.

        Arguments:
            config: the network's configuration.
            abstract: the network of a configuration with shapes and types in place of weights.

        Raises:
            InputError: the arrays do not match the network.
        """
        arrays = {name: array for name, array in self.arrays.items() if not name.startswith(PRIOR)}
        require_held(config, sum(array.size for array in arrays.values()), str(self.file))
        return self._filled(abstract(config), arrays)

    def _filled(self, abstract: Network, arrays: dict[str, np.ndarray]) -> Network:
        wanted = named(abstract.weights)
        if lacking := sorted(wanted.keys() - arrays.keys()):
            raise InputError(f"{self.file} lacks {len(lacking)} arrays of its network: {', '.join(lacking[:5])} ...")
        if foreign := sorted(arrays.keys() - wanted.keys()):
            raise InputError(f"{self.file} has {len(foreign)} arrays that its network lacks: {', '.join(foreign[:5])} ...")
        for name, leaf in wanted.items():
            array = arrays[name]
            if array.shape != leaf.shape or array.dtype != leaf.dtype:
                got = f"{array.dtype} {array.shape}"
                raise InputError(f"{self.file}: {name} is {got}, but its network has {leaf.dtype} {leaf.shape}")
        # not jnp.asarray, which compiles a copy for each shape
        leaves = jax.device_put([arrays[name] for name in wanted])
        return Network(jax.tree.unflatten(jax.tree.structure(abstract.weights), leaves), abstract.structure)


def write(
    path: str | os.PathLike,
    kind: Kind,
    network: Network,
    description: dict[str, Any],
    prior: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Writes a network and its description into the folder `path` atomically, and returns the fingerprint.

    Arguments:
        path: the folder, created if absent.
        kind: the kind of file.
        network: the network.
        description: all else that is needed to use it, JSON-ready.
        prior: the arrays of the prior of a bridge, by name.

    Raises:
        InputError: the file cannot be written.
    """
    folder = Path(path)
    arrays, description, digest = contents(kind, network, description, prior)
    metadata = {"jaxdiff": json.dumps(description), "fingerprint": digest}
    with whole(folder / kind.file) as partial:
        safetensors.numpy.save_file(arrays, partial, metadata=metadata)
    return digest


def contents(
    kind: Kind, network: Network, description: dict[str, Any], prior: Mapping[str, np.ndarray] | None = None
) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """The arrays, the description and the fingerprint of the file of a network; for arguments see `write`."""
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in named(network.weights).items()}
    arrays |= {PRIOR + name: np.ascontiguousarray(array) for name, array in (prior or {}).items()}
    # the kind is left out for models, as in older files
    description = {"format": FORMAT, **({} if kind == MODEL else {"kind": kind.name}), **description}
    return arrays, description, fingerprint(arrays, description)


def read(path: str | os.PathLike, kind: Kind) -> Contents:
    """Reads a file of `write`, from the folder of a run or the file itself.

    Raises:
        InputError: the file does not exist, is truncated or damaged, or is of another kind.
    """
    file = Path(path) / kind.file if Path(path).is_dir() else Path(path)
    if not file.exists():
        raise InputError(f"no {kind.name} at {path}: {file} does not exist{_elsewhere(file.parent, kind, path)}")
    arrays, metadata = read_arrays(file)
    if "jaxdiff" not in metadata:
        raise InputError(f"{file} contains arrays but no jaxdiff {kind.name}")
    description = parse_json(metadata["jaxdiff"], file)
    with reading(file):
        digest, version, there = metadata["fingerprint"], description["format"], description.get("kind", MODEL.name)
    if version != FORMAT:
        raise InputError(f"{file} has format {version}, this version of jaxdiff reads format {FORMAT}")
    if fingerprint(arrays, description) != digest:
        raise InputError(f"{file} is damaged: its content does not match its fingerprint {digest}")
    if there != kind.name:
        by = f"; {KINDS[there].loader} reads it" if there in KINDS else ""
        raise InputError(f"{file} contains a {there}, not a {kind.name}{by}")
    return Contents(file, arrays, description, digest)


def read_arrays(file: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays of a safetensors file of jaxdiff by name, and the texts in its header.

    Raises:
        InputError: it does not exist, is no regular file, or is truncated or damaged.
    """
    require_regular(file)
    with (
        reading(file, "it may be incomplete: copy or write it again"),
        safetensors.safe_open(file, framework="numpy") as opened,
    ):
        return {name: opened.get_tensor(name) for name in opened.keys()}, opened.metadata() or {}  # noqa: SIM118 (not a dict)


def configuration(kind: type[Config], description: dict[str, Any]) -> Config:
    """The configuration of the network in a description.

    Raises:
        InputError: it has settings that this version of jaxdiff does not know, or of another type or range.
    """
    settings: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in description["network"].items()
    }
    types = {field.name: field.type for field in fields(kind)}
    if unknown := sorted(settings.keys() - types.keys()):
        raise InputError(f"its network has settings that this version of jaxdiff does not know: {', '.join(unknown[:5])}")
    for name, value in settings.items():
        if types[name] is bool and not isinstance(value, bool):
            raise InputError(f"`{name}` of its network must be true or false, got {shortened(value)}")
        if types[name] is str and not isinstance(value, str):
            raise InputError(f"`{name}` of its network must be a text, got {shortened(value)}")
        several = str in get_args(types[name]) and isinstance(value, tuple)
        if str in get_args(types[name]) and not all(isinstance(each, str) for each in (value if several else (value,))):
            raise InputError(f"`{name}` of its network must be a text, or one for each level, got {shortened(value)}")
    check_values(kind, settings)
    for name, (number, *_) in bounds_of(kind).items():
        if name in settings and number is float:
            settings[name] = float(settings[name])
    return kind(**settings)


def fingerprint(arrays: dict[str, np.ndarray], description: dict[str, Any]) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of arrays and description."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def _elsewhere(folder: Path, kind: Kind, path) -> str:
    """What the folder contains instead, or the command that creates the missing file."""
    others = [other for other in KINDS.values() if other != kind and (folder / other.file).is_file()]
    if others:
        return f", but {others[0].file} does: it contains a {others[0].name}, which {others[0].loader} reads"
    of_diffusers = ("model_index.json", "unet", "unet_ema", "diffusion_pytorch_model*")
    if kind == MODEL and str(path).startswith("hf:"):
        return "; import a model of the Hugging Face hub with `jaxdiff train import OWNER/NAME --out RUN`"
    if kind == MODEL and any(name for pattern in of_diffusers for name in folder.glob(pattern)):
        return f"; it is a diffusers folder: convert it with `jaxdiff train import {path} --out RUN`"
    return f"; create one with `{kind.command} --out {path}`"


def named(weights: Any) -> dict[str, Any]:
    """The leaves of a network's weights by their path, e.g. `down/0/residual/conv_in/kernel`."""
    flat, _ = jax.tree_util.tree_flatten_with_path(weights)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
