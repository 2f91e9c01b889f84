"""The spatial transformer of Stable Diffusion (Rombach et al. 2022): self-attention over pixels, cross attention to a text.

Attributes of the modules have the names of diffusers, see `jaxdiff.models.latent_blocks`.
"""

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxdiff.models.latent_blocks import Projections
from jaxdiff.models.layers import GroupNorm, convolution, for_channels, layer_norm, linear

EPSILON = 1e-6
"""Of the group norm; that of the residual blocks around it is 1e-5."""
EXPANSION = 4
"""How many times wider the hidden layer of the feed-forward network is."""


class GatedProjection(nnx.Module):
    """GEGLU (Shazeer 2020): value * gelu(gate), where one dense layer gives the value and then the gate."""

    def __init__(self, inputs: int, outputs: int, *, dtype: DTypeLike):
        self.proj = linear(inputs, 2 * outputs, dtype=dtype)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n o"]:
        value, gate = jnp.split(self.proj(x), 2, axis=-1)
        return value * gelu(gate)


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x times the standard normal distribution function at x, exactly (Hendrycks & Gimpel 2016), computed in float32."""
    root, one = (for_channels(value, x.shape[-1]) for value in (math.sqrt(0.5), 1.0))
    scaled = x.astype(jnp.float32) * root
    return (scaled * (one + jax.lax.erf(scaled)) * root).astype(x.dtype)


class FeedForward(nnx.Module):
    """A gated projection to `EXPANSION` times the channels, and a dense layer back."""

    def __init__(self, channels: int, *, dtype: DTypeLike):
        hidden = EXPANSION * channels
        # named by position in diffusers, where 1 is a dropout
        layers = {"0": GatedProjection(channels, hidden, dtype=dtype), "2": linear(hidden, channels, dtype=dtype)}
        self.net = nnx.Dict(layers)

    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        return self.net["2"](self.net["0"](x))


class TransformerBlock(nnx.Module):
    """Self-attention, cross attention to the text and a feed-forward network, each after a norm and added to its input."""

    def __init__(self, channels: int, heads: int, text_channels: int, *, dtype: DTypeLike):
        self.norm1 = layer_norm(channels, dtype=dtype)
        self.attn1 = Projections(channels, channels, heads, dtype=dtype)
        self.norm2 = layer_norm(channels, dtype=dtype)
        self.attn2 = Projections(channels, text_channels, heads, dtype=dtype)
        self.norm3 = layer_norm(channels, dtype=dtype)
        self.ff = FeedForward(channels, dtype=dtype)

    def __call__(self, x: Float[Array, "b n c"], text: Float[Array, "b l d"]) -> Float[Array, "b n c"]:
        normed = self.norm1(x)
        x = x + self.attn1.mix(normed, normed)
        x = x + self.attn2.mix(self.norm2(x), text)
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nnx.Module):
    """Transformer blocks over the pixels of a feature map, between a projection in and one out, plus a skip.

    Arguments:
        channels: of the feature map.
        heads: attention heads.
        layers: transformer blocks.
        text_channels: channels of the text embeddings.
        groups: of the group norm.
        linear_projection: whether the projections are dense layers or 1x1 convolutions.
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        layers: int,
        text_channels: int,
        *,
        groups: int,
        linear_projection: bool,
        dtype: DTypeLike,
    ):
        def projection() -> nnx.Linear | nnx.Conv:
            return (
                linear(channels, channels, dtype=dtype)
                if linear_projection
                else convolution(channels, channels, 1, dtype=dtype)
            )

        self.norm = GroupNorm(channels, groups, EPSILON)
        self.proj_in = projection()
        blocks = [TransformerBlock(channels, heads, text_channels, dtype=dtype) for _ in range(layers)]
        self.transformer_blocks = nnx.List(blocks)
        self.proj_out = projection()

    def __call__(self, x: Float[Array, "b h w c"], text: Float[Array, "b l d"]) -> Float[Array, "b h w c"]:
        hidden = rearrange(self.proj_in(self.norm(x)), "b h w c -> b (h w) c")
        for block in self.transformer_blocks:
            hidden = block(hidden, text)
        return x + self.proj_out(rearrange(hidden, "b (h w) c -> b h w c", h=x.shape[1]))
