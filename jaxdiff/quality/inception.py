"""The Inception network of the Fréchet inception distance (FID), and its weights files.

InceptionV3 (Szegedy et al., CVPR 2016) as in the TensorFlow graph of 2015-12-05, with which Heusel et al. (NeurIPS 2017)
defined the distance. It differs from the published network in its pooling: the average pools inside the blocks exclude the
padding, and the last block has a max pool instead. Nothing is downloaded: see `load`.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float, Float32, UInt8

from jaxdiff import torch_file
from jaxdiff.batches import in_batches
from jaxdiff.boundary import reading
from jaxdiff.errors import InputError
from jaxdiff.finished import checksum, file_checksum
from jaxdiff.quality.extractors import require_images
from jaxdiff.quality.resizing import preparation
from jaxdiff.spaces import rgb
from jaxdiff.weight_file import read_arrays
from jaxdiff.writing import whole

SIZE = 299
"""Height and width of the network's input."""

EPSILON = 1e-3
"""Added to the variances of the batch norms."""

FORMAT = "inception-2015-12-05 folded 1"
"""The format of converted weights files, in their metadata."""

Weights = Mapping[str, Mapping[str, Float32[Array, "..."]]]
"""By convolution: `kernel` (height, width, inputs, outputs) and `bias` (outputs,), with the batch norm folded in."""

Convolutions = Callable[[str, tuple[int, int, int, int]], Mapping[str, Any]]
"""A function from a convolution's name and kernel shape to its kernel and bias."""


class _Layer(NamedTuple):
    """A convolution, its bias and a ReLU."""

    name: str
    width: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"


@dataclass(frozen=True)
class Inception:
    """The features of the network's last average pool, of length 2048. `load` makes one.

    Computed in float32 at the highest precision of the device: reduced-precision products would change the features.

    Attributes:
        weights: as in `Weights`.
        source: the first 16 hexadecimal digits of the SHA-256 of the PyTorch file; they begin with 6726825d for the standard
            weights, as the file names do.
        checksum: of the weights.
        batch: images a batch, at least 1; 32 take about a gigabyte.
        resize: the program whose resize is used, one of `resizing.RESIZES`.
    """

    weights: Weights
    source: str
    checksum: str
    batch: int = 32
    resize: str = "tensorflow"
    name: ClassVar[str] = "inception-2015-12-05"
    dimension: ClassVar[int] = 2048

    def __post_init__(self):
        if self.batch < 1:
            raise InputError(f"`batch` must be at least 1, got {self.batch}")
        preparation(self.resize)

    def describe(self) -> Mapping[str, Any]:
        """As in `Extractor.describe`, with the `source`."""
        own = {"name": self.name, "dimension": self.dimension, "checksum": self.checksum}
        return {**own, "source": self.source, "resize": preparation(self.resize).about}

    def __call__(self, images: UInt8[np.ndarray, "n h w c"]) -> Float32[np.ndarray, "n d"]:
        """As in `Extractor.__call__`; compiled once for each height and width of images."""
        require_images(images)
        return in_batches(partial(_extract, self.weights, resize=self.resize), rgb(images), self.batch)


@partial(jax.jit, static_argnames="resize")
def _extract(weights: Weights, images: UInt8[Array, "b h w 3"], *, resize: str) -> Float32[Array, "b d"]:
    return features(prepare(images, resize), lambda name, _: weights[name])


# Images -----------------------------------------------------------------------------------------------------------------------


def prepare(images: UInt8[Array, "b h w 3"], resize: str = "tensorflow") -> Float32[Array, "b 299 299 3"]:
    """Resizes images in 0..255 to the network's size and scales them, see `resizing.RESIZES`; by default to [-1, 1)."""
    return preparation(resize)(images, SIZE)


# The network ------------------------------------------------------------------------------------------------------------------


def features(x: Float[Array, "b h w 3"], convolutions: Convolutions) -> Float[Array, "b d"]:
    """The network up to its last average pool: images (B, 299, 299, 3) in [-1, 1] to features (B, 2048)."""
    run = partial(_chain, convolutions)
    x = run(x, _Layer("Conv2d_1a_3x3", 32, (3, 3), 2, "VALID"), _Layer("Conv2d_2a_3x3", 32, (3, 3), padding="VALID"))
    x = _halved(run(x, _Layer("Conv2d_2b_3x3", 64, (3, 3))))
    x = _halved(run(x, _Layer("Conv2d_3b_1x1", 80), _Layer("Conv2d_4a_3x3", 192, (3, 3), padding="VALID")))
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = _block_a(_block_chain(convolutions, name), x, pooled)
    x = _block_b(_block_chain(convolutions, "Mixed_6a"), x)
    for name, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = _block_c(_block_chain(convolutions, name), x, width)
    x = _block_d(_block_chain(convolutions, "Mixed_7a"), x)
    x = _block_e(_block_chain(convolutions, "Mixed_7b"), x, _average)
    x = _block_e(_block_chain(convolutions, "Mixed_7c"), x, _maximum)
    return x.mean(axis=(1, 2))


def _block_chain(convolutions: Convolutions, block: str) -> Callable[..., Float[Array, "b h w c"]]:
    """`_chain` with the layers of one block."""
    return partial(_chain, lambda name, shape: convolutions(f"{block}.{name}", shape))


def _chain(convolutions: Convolutions, x: Float[Array, "b h w c"], *layers: _Layer) -> Float[Array, "b h2 w2 c2"]:
    for layer in layers:
        own = convolutions(layer.name, (*layer.kernel, x.shape[-1], layer.width))
        strides = (layer.stride, layer.stride)
        x = jax.lax.conv_general_dilated(
            x, own["kernel"], strides, layer.padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
        )
        x = nnx.relu(x + own["bias"])
    return x


def _average(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    """The mean over 3x3 pixels, without padding."""
    return nnx.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def _maximum(x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
    return nnx.max_pool(x, (3, 3), (1, 1), "SAME")


def _halved(x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
    return nnx.max_pool(x, (3, 3), (2, 2), "VALID")


def _joined(*branches: Float[Array, "b h w _"]) -> Float[Array, "b h w c"]:
    return jnp.concatenate(branches, axis=-1)


def _block_a(run, x, pooled: int):
    return _joined(
        run(x, _Layer("branch1x1", 64)),
        run(x, _Layer("branch5x5_1", 48), _Layer("branch5x5_2", 64, (5, 5))),
        run(
            x, _Layer("branch3x3dbl_1", 64), _Layer("branch3x3dbl_2", 96, (3, 3)), _Layer("branch3x3dbl_3", 96, (3, 3))
        ),
        run(_average(x), _Layer("branch_pool", pooled)),
    )  # fmt: skip


def _block_b(run, x):
    halving = _Layer("branch3x3dbl_3", 96, (3, 3), 2, "VALID")
    return _joined(
        run(x, _Layer("branch3x3", 384, (3, 3), 2, "VALID")),
        run(x, _Layer("branch3x3dbl_1", 64), _Layer("branch3x3dbl_2", 96, (3, 3)), halving),
        _halved(x),
    )


def _block_c(run, x, width: int):
    row, column = (1, 7), (7, 1)
    return _joined(
        run(x, _Layer("branch1x1", 192)),
        run(
            x, _Layer("branch7x7_1", width), _Layer("branch7x7_2", width, row), _Layer("branch7x7_3", 192, column)
        ),
        run(
            x, _Layer("branch7x7dbl_1", width), _Layer("branch7x7dbl_2", width, column), _Layer("branch7x7dbl_3", width, row),
            _Layer("branch7x7dbl_4", width, column), _Layer("branch7x7dbl_5", 192, row),
        ),
        run(_average(x), _Layer("branch_pool", 192)),
    )  # fmt: skip


def _block_d(run, x):
    return _joined(
        run(x, _Layer("branch3x3_1", 192), _Layer("branch3x3_2", 320, (3, 3), 2, "VALID")),
        run(
            x, _Layer("branch7x7x3_1", 192), _Layer("branch7x7x3_2", 192, (1, 7)), _Layer("branch7x7x3_3", 192, (7, 1)),
            _Layer("branch7x7x3_4", 192, (3, 3), 2, "VALID"),
        ),
        _halved(x),
    )  # fmt: skip


def _block_e(run, x, pool):
    single = run(x, _Layer("branch3x3_1", 384))
    double = run(x, _Layer("branch3x3dbl_1", 448), _Layer("branch3x3dbl_2", 384, (3, 3)))
    return _joined(
        run(x, _Layer("branch1x1", 320)),
        run(single, _Layer("branch3x3_2a", 384, (1, 3))),
        run(single, _Layer("branch3x3_2b", 384, (3, 1))),
        run(double, _Layer("branch3x3dbl_3a", 384, (1, 3))),
        run(double, _Layer("branch3x3dbl_3b", 384, (3, 1))),
        run(pool(x), _Layer("branch_pool", 192)),
    )


@cache
def shapes() -> dict[str, tuple[int, int, int, int]]:
    """The shape of each convolution's kernel, (height, width, inputs, outputs), by name."""
    found = {}

    def convolution(name, shape):
        found[name] = shape
        return {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[-1:])}

    jax.eval_shape(partial(features, convolutions=convolution), jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32))
    return found


# Weights ----------------------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike, *, batch: int = 32, resize: str = "tensorflow") -> Inception:
    """Loads the network from a local weights file.

    Arguments:
        path: a file written by `convert`, or the PyTorch file that it takes, which is slower.
        batch: images a batch, at least 1.
        resize: the program whose resize is used, one of `resizing.RESIZES`; distances are comparable only under one.

    Raises:
        InputError: no such file, or one that is damaged, unsafe or of another network.
    """
    path = Path(path)
    with reading(path):
        arrays, metadata = _read(path) if path.suffix == ".safetensors" else _folded(path)
        source, digest = metadata["source"], metadata["checksum"]
    weights: dict[str, dict[str, Array]] = {}
    for key, array in arrays.items():
        name, part = key.rsplit("/", 1)
        weights.setdefault(name, {})[part] = jnp.asarray(array)
    return Inception(weights, source, digest, batch, resize)


def convert(path: str | os.PathLike, target: str | os.PathLike | None = None) -> Path:
    """Converts a PyTorch weights file to a safetensors file, atomically.

    Each batch norm is folded into its convolution, in float64: half the arrays and less work, equal up to rounding.

    Arguments:
        path: `weights-inception-2015-12-05-6726825d.pth` of torch-fidelity or `pt_inception-2015-12-05-6726825d.pth` of
            pytorch-fid, which are the same; the state dictionary of their network.
        target: the file to write; None takes the same name with the suffix `.safetensors`.

    Returns:
        The path of the written file.

    Raises:
        InputError: no such file; a damaged or unsafe one (see `torch_file.load`); arrays that are missing, unexpected or of
            the wrong shape.
    """
    target = Path(path).with_suffix(".safetensors") if target is None else Path(target)
    if target.suffix != ".safetensors":
        raise InputError(f"`target` must end in .safetensors, got {target}")
    arrays, metadata = _folded(Path(path))
    with whole(target) as partial_file:
        safetensors.numpy.save_file(arrays, partial_file, metadata=metadata)
    return target


def _folded(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a converted file, from a PyTorch file."""
    state = torch_file.load(path)
    parts = ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    wanted = {
        f"{name}.{part}": (outputs, inputs, height, width) if part == "conv.weight" else (outputs,)
        for name, (height, width, inputs, outputs) in shapes().items()
        for part in parts
    }
    unused = {"fc.weight", "fc.bias", *(f"{name}.bn.num_batches_tracked" for name in shapes())}
    _check({key: array for key, array in state.items() if key not in unused} if isinstance(state, dict) else {}, wanted, path)
    arrays = {}
    for name in shapes():
        kernel, scale, shift, mean, variance = (np.asarray(state[f"{name}.{part}"], np.float64) for part in parts)
        scale = scale / np.sqrt(variance + EPSILON)
        arrays[f"{name}/kernel"] = np.ascontiguousarray((rearrange(kernel, "o i h w -> h w i o") * scale).astype(np.float32))
        arrays[f"{name}/bias"] = (shift - mean * scale).astype(np.float32)
    return arrays, {"jaxdiff": FORMAT, "source": file_checksum(path), "checksum": checksum(arrays)}


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a converted file."""
    arrays, metadata = read_arrays(path)
    if metadata.get("jaxdiff") != FORMAT:
        raise InputError(f"{path} must be of format {FORMAT!r}, as `convert` writes it, got {metadata.get('jaxdiff')!r}")
    wanted = {f"{name}/kernel": shape for name, shape in shapes().items()}
    _check(arrays, wanted | {f"{name}/bias": shape[-1:] for name, shape in shapes().items()}, path)
    if checksum(arrays) != metadata["checksum"]:
        raise InputError(f"{path} is damaged: its content does not match its checksum {metadata['checksum']}")
    return arrays, metadata


def _check(arrays: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Raises `InputError` unless the arrays are float32 with the expected names and shapes."""
    wrong = {
        "lacks": sorted(wanted.keys() - arrays.keys()),
        "has unexpected": sorted(map(str, arrays.keys() - wanted.keys())),
        "has in another shape or type": [
            f"{name} {getattr(arrays[name], 'dtype', type(arrays[name]).__name__)} {getattr(arrays[name], 'shape', '')}"
            f" instead of float32 {shape}"
            for name, shape in wanted.items()
            if name in arrays and (getattr(arrays[name], "shape", None) != shape or arrays[name].dtype != np.float32)
        ],
    }
    if any(wrong.values()):
        found = "; ".join(f"it {verb} {len(keys)}: {_listed(keys)}" for verb, keys in wrong.items() if keys)
        raise InputError(f"{path} is not of the Inception network of 2015-12-05: {found}")


def _listed(keys: list[str]) -> str:
    return ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
