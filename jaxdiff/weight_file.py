"""Files of trained weights: safetensors with all that is needed to use them, written atomically."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from jaxdiff.errors import InputError
from jaxdiff.models.network import Network
from jaxdiff.writing import whole

FORMAT = 1


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

    def fill(self, abstract: Network) -> Network:
        """A network with these weights.

        Arguments:
            abstract: the network with shapes and types in place of weights.

        Raises:
            InputError: the arrays do not match the network.
        """
        wanted = named(abstract.weights)
        if lacking := sorted(wanted.keys() - self.arrays.keys()):
            raise InputError(f"{self.file} lacks {len(lacking)} arrays of its network: {', '.join(lacking[:5])} ...")
        if foreign := sorted(self.arrays.keys() - wanted.keys()):
            raise InputError(f"{self.file} has {len(foreign)} arrays that its network lacks: {', '.join(foreign[:5])} ...")
        for name, leaf in wanted.items():
            array = self.arrays[name]
            if array.shape != leaf.shape or array.dtype != leaf.dtype:
                got = f"{array.dtype} {array.shape}"
                raise InputError(f"{self.file}: {name} is {got}, but its network has {leaf.dtype} {leaf.shape}")
        # not jnp.asarray, which compiles a copy for each shape
        leaves = jax.device_put([self.arrays[name] for name in wanted])
        return Network(jax.tree.unflatten(jax.tree.structure(abstract.weights), leaves), abstract.structure)


def write(path: str | os.PathLike, kind: Kind, network: Network, description: dict[str, Any]) -> str:
    """Writes a network and its description into the folder `path` atomically, and returns the fingerprint.

    Arguments:
        path: the folder, created if absent.
        kind: the kind of file.
        network: the network.
        description: all else that is needed to use it, JSON-ready.

    Raises:
        InputError: the file cannot be written.
    """
    folder = Path(path)
    arrays, description, digest = contents(kind, network, description)
    metadata = {"jaxdiff": json.dumps(description), "fingerprint": digest}
    with whole(folder / kind.file) as partial:
        safetensors.numpy.save_file(arrays, partial, metadata=metadata)
    return digest


def contents(kind: Kind, network: Network, description: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """The arrays, the description and the fingerprint of the file of a network; for arguments see `write`."""
    arrays = {name: np.ascontiguousarray(leaf) for name, leaf in named(network.weights).items()}
    # the kind is left out for models, as in older files
    description = {"format": FORMAT, **({} if kind == MODEL else {"kind": kind.name}), **description}
    return arrays, description, fingerprint(arrays, description)


def read(path: str | os.PathLike, kind: Kind) -> Contents:
    """Reads a file of `write`, from the folder of a run or the file itself.

    Raises:
        InputError: the file does not exist, is truncated or damaged, or is of another kind.
    """
    file = Path(path) / kind.file if Path(path).is_dir() else Path(path)
    if not file.is_file():
        raise InputError(f"no {kind.name} at {path}: {file} does not exist{_elsewhere(file.parent, kind, path)}")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            metadata = opened.metadata() or {}
            arrays = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (not a dict)
    except safetensors.SafetensorError as error:
        raise InputError(f"{file} is damaged or incomplete: {error}") from error
    if "jaxdiff" not in metadata:
        raise InputError(f"{file} contains arrays but no jaxdiff {kind.name}")
    try:
        description, digest = json.loads(metadata["jaxdiff"]), metadata["fingerprint"]
        version, there = description["format"], description.get("kind", MODEL.name)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{file} is damaged: {error}") from error
    if version != FORMAT:
        raise InputError(f"{file} has format {version}, this version of jaxdiff reads format {FORMAT}")
    if fingerprint(arrays, description) != digest:
        raise InputError(f"{file} is damaged: its content does not match its fingerprint {digest}")
    if there != kind.name:
        by = f"; {KINDS[there].loader} reads it" if there in KINDS else ""
        raise InputError(f"{file} contains a {there}, not a {kind.name}{by}")
    return Contents(file, arrays, description, digest)


def settings(description: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a network's configuration, with tuples for the lists of JSON."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in description["network"].items()}


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
