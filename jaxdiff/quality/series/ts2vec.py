"""TS2Vec: an encoder of time series and the hierarchical contrastive loss that it is trained on (Yue et al. 2022).

arXiv 2106.10466. Crops of a window have any length; here they are masks over arrays of one length, so that one compiled program
serves all of them, and a crop is encoded exactly as if it were alone.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from jaxdiff.models.network import Network

WIDTH = 64
OUTPUT = 320
"""The length of an encoding."""
DEPTH = 10
DROPOUT = 0.1
OUTSIDE = -1e9
"""The logit of what lies outside of the crop."""


def _uniform(generator: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> nnx.Param:
    """PyTorch's initial weights and biases of linear and convolutional layers; on the host, which compiles nothing."""
    bound = 1 / math.sqrt(fan_in)
    return nnx.Param(jnp.asarray(generator.uniform(-bound, bound, shape), jnp.float32))


class _Convolution(nnx.Module):
    """A convolution over time of size 3, with zeros beyond the ends. As three products, which XLA differentiates fast."""

    def __init__(self, inputs: int, outputs: int, dilation: int, generator: np.random.Generator):
        self.dilation = dilation
        self.kernel = _uniform(generator, (3, inputs, outputs), 3 * inputs)
        self.bias = _uniform(generator, (outputs,), 3 * inputs)

    def __call__(self, x: Float[Array, "b l c"]) -> Float[Array, "b l d"]:
        kernel, bias = self.kernel[...], self.bias[...]
        if self.dilation >= x.shape[1]:  # both neighbours lie beyond the ends
            return x @ kernel[1] + bias
        ends = jnp.zeros_like(x[:, : self.dilation])
        before = jnp.concatenate([ends, x[:, : -self.dilation]], axis=1)
        after = jnp.concatenate([x[:, self.dilation :], ends], axis=1)
        taps = jnp.concatenate([before, x, after], axis=2)
        return taps @ kernel.reshape(-1, kernel.shape[2]) + bias


class _Block(nnx.Module):
    """Two dilated convolutions and a shortcut, which is a linear layer where the width changes."""

    def __init__(self, inputs: int, outputs: int, dilation: int, generator: np.random.Generator):
        self.first = _Convolution(inputs, outputs, dilation, generator)
        self.second = _Convolution(outputs, outputs, dilation, generator)
        self.projects = inputs != outputs
        if self.projects:
            self.shortcut = _uniform(generator, (inputs, outputs), inputs)
            self.shortcut_bias = _uniform(generator, (outputs,), inputs)

    def __call__(self, x, inside):
        y = self.first(inside * jax.nn.gelu(x, approximate=False))
        y = self.second(inside * jax.nn.gelu(y, approximate=False))
        return y + (x @ self.shortcut[...] + self.shortcut_bias[...] if self.projects else x)


class TS2Vec(nnx.Module):
    """The encoder: a linear layer, ten residual blocks of width 64 with dilations 1, 2, 4, ..., and one to 320 (section 3.2).

    Arguments:
        features: F of the windows.
        generator: of the weights, which are initialised as PyTorch does.
    """

    def __init__(self, features: int, generator: np.random.Generator):
        self.inputs = _uniform(generator, (features, WIDTH), features)
        self.inputs_bias = _uniform(generator, (WIDTH,), features)
        widths = [WIDTH] * DEPTH + [OUTPUT]
        self.blocks = nnx.List([_Block(WIDTH, width, 2**i, generator) for i, width in enumerate(widths)])

    def __call__(
        self, x: Float[Array, "b l f"], inside: Bool[Array, "b l"], seen: Bool[Array, "b l"]
    ) -> Float[Array, "b l 320"]:
        """The representation of each time step.

        Arguments:
            x: windows.
            inside: the crop, of consecutive steps: what lies outside of it has no effect within.
            seen: the steps whose input is not masked.
        """
        y = (x @ self.inputs[...] + self.inputs_bias[...]) * seen[..., None]
        for block in self.blocks:
            y = block(y, inside[..., None])
        return y


def ts2vec(features: int, generator: np.random.Generator) -> Network:
    """A `TS2Vec` with random weights."""
    structure, weights = nnx.split(TS2Vec(features, generator), nnx.Param)
    return Network(nnx.to_pure_dict(weights), structure)


def encoded(network: Network, x: Float[Array, "b l f"]) -> Float[Array, "b 320"]:
    """The representation of whole windows: the maximum over time of that of each step."""
    whole = jnp.ones(x.shape[:2], bool)
    return network(x, whole, whole).max(axis=1)


def contrastive_loss(first: Float[Array, "b l c"], second: Float[Array, "b l c"], length: Int[Array, ""]) -> Float[Array, ""]:
    """The hierarchical contrastive loss of two views of the same steps (section 3.3, algorithm 1 of the paper).

    At each level the mean of the instance-wise and the temporal loss; then both views are max-pooled by two, down to one step,
    which has the instance-wise loss alone, halved as well. The loss is the mean over the levels.

    Arguments:
        first, second: representations in both views, of which the steps before `length` count.
        length: steps, at least 1.
    """
    steps = first.shape[1]
    total, levels = jnp.zeros(()), jnp.zeros(())
    while True:
        valid = jnp.arange(steps) < length
        reached = length >= 1
        loss = _instance_loss(first, second, valid) + jnp.where(length > 1, _temporal_loss(first, second, valid), 0)
        total, levels = total + jnp.where(reached, loss / 2, 0), levels + reached
        if steps == 1:
            return total / levels
        steps, length = steps // 2, length // 2
        first, second = (z[:, : 2 * steps].reshape(len(z), steps, 2, -1).max(axis=2) for z in (first, second))


def _instance_loss(first, second, valid):
    """A step is distinguished from the same step of other windows (equation 2)."""
    if len(first) == 1:
        return jnp.zeros(())
    z = jnp.concatenate([first, second]).swapaxes(0, 1)
    logits = z @ z.swapaxes(1, 2) + jnp.diag(jnp.full(z.shape[1], OUTSIDE))
    return _mean_of_pairs(logits, valid[:, None])


def _temporal_loss(first, second, valid):
    """A step is distinguished from other steps of the same window (equation 1)."""
    z = jnp.concatenate([first, second], axis=1)
    both = jnp.concatenate([valid, valid])
    logits = z @ z.swapaxes(1, 2) + jnp.diag(jnp.full(z.shape[1], OUTSIDE))
    return _mean_of_pairs(jnp.where(both, logits, OUTSIDE), valid[None])


def _mean_of_pairs(logits, counted):
    """The mean cross-entropy of finding the other view of each element: element i of the first half is i of the second."""
    half = logits.shape[1] // 2
    found = jax.nn.log_softmax(logits, axis=2)
    one, other = (jnp.diagonal(found, offset, 1, 2) for offset in (half, -half))
    counted = jnp.broadcast_to(counted, one.shape)
    return -jnp.where(counted, one + other, 0).sum() / (2 * jnp.maximum(counted.sum(), 1))
