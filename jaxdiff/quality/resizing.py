"""How images are resized and scaled for the Inception network, which differs between programs.

Each resize is linear and separable: a matrix along each axis. On small images the choice changes the Fréchet distance in its
first digits (Parmar, Zhang & Zhu 2022, "On aliased resizing"), so that distances are comparable only under one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float32, Float64, UInt8

from jaxdiff.errors import InputError


@dataclass(frozen=True)
class Preparation:
    """A resize and a scale.

    Attributes:
        matrix: the weights of the resize along one axis, as a function of the sizes before and after, (outputs, inputs).
        centre: the level that becomes 0; levels are divided by it too.
        clip: whether resized levels are clipped to [0, 255], which interpolation with negative weights leaves.
        about: the resize in words, for reports.
    """

    matrix: Callable[[int, int], Float32[np.ndarray, "outputs inputs"]]
    centre: float
    clip: bool
    about: str

    def __call__(self, images: UInt8[Array, "b h w 3"], size: int) -> Float32[Array, "b size size 3"]:
        """Resizes images in 0..255 to a square, and scales them to about [-1, 1]."""
        rows, columns = (self.matrix(each, size) for each in images.shape[1:3])
        resized = jnp.einsum("oh,bhwc,pw->bopc", rows, images.astype(jnp.float32), columns, precision="highest")
        if self.clip:
            resized = jnp.clip(resized, 0, 255)
        return (resized - self.centre) / self.centre


def tensorflow_matrix(inputs: int, outputs: int) -> Float32[np.ndarray, "outputs inputs"]:
    """The weights of TensorFlow 1's bilinear resize along one axis (`align_corners=False`, `half_pixel_centers=False`).

    Output o is interpolated at o inputs / outputs between the two nearest inputs; beyond the last input that one is repeated.
    There is no antialiasing: a reduction by two takes every second pixel.
    """
    return _interpolation(np.arange(outputs, dtype=np.float32) * np.float32(inputs / outputs), inputs)


def half_pixel_matrix(inputs: int, outputs: int) -> Float32[np.ndarray, "outputs inputs"]:
    """The weights of PyTorch's bilinear resize along one axis (`align_corners=False`): as in `tensorflow_matrix`, at
    (o + 1/2) inputs / outputs - 1/2, so that the image keeps its centre; the outermost inputs are repeated."""
    # in float32, as PyTorch computes it
    position = (np.arange(outputs, dtype=np.float32) + np.float32(0.5)) * np.float32(inputs / outputs) - np.float32(0.5)
    return _interpolation(np.maximum(position, np.float32(0)), inputs)


def _interpolation(position: Float32[np.ndarray, " outputs"], inputs: int) -> Float32[np.ndarray, "outputs inputs"]:
    """The weights of linear interpolation between the two inputs nearest to each position."""
    lower = np.minimum(position.astype(np.int64), inputs - 1)
    share = position - lower.astype(np.float32)
    matrix = np.zeros((len(position), inputs), np.float32)
    outputs = np.arange(len(position))
    matrix[outputs, lower] = 1 - share
    matrix[outputs, np.minimum(lower + 1, inputs - 1)] += share
    return matrix


def bicubic_matrix(inputs: int, outputs: int) -> Float32[np.ndarray, "outputs inputs"]:
    """The weights of Pillow's bicubic resize along one axis: the kernel of Keys (1981) with a = -1/2, stretched by the factor
    of a reduction against aliasing, and normalised over the inputs that there are."""
    factor = inputs / outputs
    stretch = max(factor, 1.0)
    centre = (np.arange(outputs)[:, None] + 0.5) * factor
    distance = np.abs((np.arange(inputs) + 0.5 - centre) / stretch)
    weights = _keys(distance)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _keys(distance: Float64[np.ndarray, "outputs inputs"]) -> Float64[np.ndarray, "outputs inputs"]:
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return np.where(distance < 1, near, np.where(distance < 2, far, 0.0))


RESIZES: Mapping[str, Preparation] = MappingProxyType(
    {
        "tensorflow": Preparation(
            tensorflow_matrix, 128.0, False, "TensorFlow 1 bilinear to 299x299, no antialiasing, (x - 128) / 128"
        ),
        "pytorch-fid": Preparation(
            half_pixel_matrix, 127.5, False, "pytorch-fid bilinear to 299x299, half pixels, no antialiasing, x / 127.5 - 1"
        ),
        "clean-fid": Preparation(
            bicubic_matrix, 128.0, True, "clean-fid bicubic to 299x299 with antialiasing, (x - 128) / 128"
        ),
    }
)
"""By the program whose distances they reproduce. `tensorflow` is that of the original FID, torch-fidelity, guided-diffusion and
EDM."""


def preparation(resize: str) -> Preparation:
    """The preparation of this name. Raises `InputError` for another name."""
    if resize not in RESIZES:
        raise InputError(f"`resize` must be one of {', '.join(RESIZES)}, got {resize!r}")
    return RESIZES[resize]
