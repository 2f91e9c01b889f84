"""A small residual image classifier, the attribute classifier of the fairness metrics."""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from jaxdiff.errors import InputError
from jaxdiff.models.layers import GroupNorm


class Block(nnx.Module):
    """A pre-activation residual block (He et al., ECCV 2016): two 3x3 convolutions, the first one with the stride.

    The norm is over groups of channels of one image, so that an image's output never depends on its batch.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int, rngs: nnx.Rngs):
        self.norm1 = GroupNorm(inputs, 8)
        self.conv1 = nnx.Conv(inputs, outputs, (3, 3), strides=stride, use_bias=False, rngs=rngs)
        self.norm2 = GroupNorm(outputs, 8)
        self.conv2 = nnx.Conv(outputs, outputs, (3, 3), use_bias=False, rngs=rngs)
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nnx.Conv(inputs, outputs, (1, 1), strides=stride, use_bias=False, rngs=rngs)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c2"]:
        hidden = nnx.relu(self.norm1(x))
        residual = x if self.shortcut is None else self.shortcut(hidden)
        return residual + self.conv2(nnx.relu(self.norm2(self.conv1(hidden))))


class ResNet(nnx.Module):
    """A small pre-activation ResNet for images of at least 16x16 pixels.

    A 3x3 convolution with stride 2, stages of residual blocks that halve the image from the second stage on, the mean
    over the image, one dense layer.

    Arguments:
        classes: number of logits, at least 2.
        channels: channels of the images.
        widths: channels of each stage.
        blocks: residual blocks per stage.
        rngs: Flax's random streams for the initial weights.
    """

    def __init__(
        self, classes: int, *, channels: int = 3, widths: Sequence[int] = (16, 32, 64), blocks: int = 1, rngs: nnx.Rngs
    ):
        if classes < 2:
            raise InputError(f"`classes` must be at least 2, got {classes}")
        if not widths or blocks < 1:
            raise InputError(f"`widths` and `blocks` must not be empty, got {tuple(widths)} and {blocks}")
        self.stem = nnx.Conv(channels, widths[0], (3, 3), strides=2, use_bias=False, rngs=rngs)
        self.stages = nnx.List()
        inputs = widths[0]
        for stage, width in enumerate(widths):
            for block in range(blocks):
                self.stages.append(Block(inputs, width, stride=2 if stage and not block else 1, rngs=rngs))
                inputs = width
        self.norm = GroupNorm(inputs, 8)
        self.head = nnx.Linear(inputs, classes, rngs=rngs)

    def features(self, x: Float[Array, "b h w c"]) -> Float[Array, "b d"]:
        """The penultimate layer of images in [-1, 1]: one number per channel of the last stage."""
        x = self.stem(x)
        for block in self.stages:
            x = block(x)
        return nnx.relu(self.norm(x)).mean(axis=(1, 2))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b classes"]:
        """The logits of images in [-1, 1]."""
        return self.head(self.features(x))


def create(classes: int, *, seed: int, **sizes: Any) -> tuple[Any, Any]:
    """A `ResNet` split into its structure and He-normal initial weights (He et al., ICCV 2015, eq. 10).

    The weights are drawn by NumPy: on a CPU, compiling JAX's generator for every shape takes longer than the training.

    Arguments:
        classes, sizes: see `ResNet`.
        seed: for the weights.
    """
    graph, state = _abstract(classes, **sizes)
    generator = np.random.default_rng(seed)

    def initial(path, leaf):
        name = jax.tree_util.keystr(path)
        if "kernel" in name:
            deviation = math.sqrt(2 / math.prod(leaf.shape[:-1]))
            return jax.numpy.asarray(deviation * generator.standard_normal(leaf.shape, np.float32))
        return jax.numpy.asarray(np.full(leaf.shape, "scale" in name, np.float32))

    return graph, jax.tree_util.tree_map_with_path(initial, state)


@cache
def _abstract(classes: int, **sizes: Any) -> tuple[Any, Any]:
    """The structure of a `ResNet`, and the shapes of its weights; tracing it takes longer than a short training."""
    return nnx.split(nnx.eval_shape(lambda: ResNet(classes, rngs=nnx.Rngs(0), **sizes)))
