"""CLIP's image encoder (Radford et al. 2021), a vision transformer: images to vectors beside those of prompts.

The modules are named as in transformers, so that files of weights need no table of names.
"""

from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float

from jaxdiff.bounds import Bounds, Positive, check_bounds
from jaxdiff.errors import InputError
from jaxdiff.models.config import DTYPES, MOST_BLOCKS, Width
from jaxdiff.models.layers import convolution, embedding, layer_norm, linear
from jaxdiff.models.text_encoder import ACTIVATIONS, Layers


@dataclass(frozen=True)
class ImageEncoderConfig:
    """The configuration of an image encoder; by default that of ViT-B/32.

    Arguments:
        size: height and width of the images in pixels.
        patch: height and width of the patches that are the positions of the transformer, a divisor of the size.
        channels: channels of the images.
        width: channels of the hidden states.
        layers, heads, inner, activation, epsilon, dtype: as in `TextEncoderConfig`.
        projection: channels of the result.
    """

    size: Width = 224
    patch: Width = 32
    channels: Width = 3
    width: Width = 768
    layers: Annotated[int, Bounds(least=1, limit=MOST_BLOCKS)] = 12
    heads: Width = 12
    inner: Width = 3072
    activation: str = "quick_gelu"
    epsilon: Positive = 1e-5
    projection: Width = 512
    dtype: str = "float32"

    def __post_init__(self):
        check_bounds(self)
        for name, whole in (("heads", self.width), ("patch", self.size)):
            if whole % getattr(self, name):
                raise InputError(f"`{name}` must divide {whole}, got {getattr(self, name)}")
        for name, value, options in (("activation", self.activation, ACTIVATIONS), ("dtype", self.dtype, DTYPES)):
            if value not in options:
                raise InputError(f"`{name}` must be one of {', '.join(options)}, got {value!r}")

    @property
    def positions(self) -> int:
        """The positions of the transformer: that of the result, and the patches."""
        return 1 + (self.size // self.patch) ** 2


class ImageEncoder(nnx.Module):
    """The image encoder of a configuration."""

    def __init__(self, config: ImageEncoderConfig):
        self.config, dtype = config, jnp.dtype(config.dtype)
        self.embeddings = PatchEmbeddings(config)
        self.pre_layrnorm = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype)  # so spelled in transformers
        self.encoder = Layers(config, causal=False)
        self.post_layernorm = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype)
        self.visual_projection = linear(config.width, config.projection, bias=False, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b p"]:
        """The vectors of images.

        Arguments:
            images: (B, H, W, C), normalised as in training.

        Raises:
            InputError: the images are of another shape.
        """
        config = self.config
        if images.shape[1:] != (config.size, config.size, config.channels):
            wanted = (config.size, config.size, config.channels)
            raise InputError(f"`images` must have shape (B, {', '.join(map(str, wanted))}), got {images.shape}")
        states = self.pre_layrnorm(self.embeddings(images.astype(config.dtype)))
        for layer in self.encoder.layers:
            states = layer(states)
        return self.visual_projection(self.post_layernorm(states[:, 0]))


class PatchEmbeddings(nnx.Module):
    """A learned vector and the projections of the patches row by row, each with that of its position added."""

    def __init__(self, config: ImageEncoderConfig):
        dtype = jnp.dtype(config.dtype)
        self.class_embedding = nnx.Param(jnp.zeros(config.width))
        self.patch_embedding = convolution(
            config.channels, config.width, config.patch, strides=config.patch, bias=False, dtype=dtype
        )
        self.position_embedding = embedding(config.positions, config.width, dtype=dtype)

    def __call__(self, images: Float[Array, "b h w c"]) -> Float[Array, "b l d"]:
        patches = rearrange(self.patch_embedding(images), "b h w d -> b (h w) d")
        first = jnp.broadcast_to(self.class_embedding[...].astype(patches.dtype), (len(patches), 1, patches.shape[-1]))
        return jnp.concatenate([first, patches], 1) + self.position_embedding(jnp.arange(patches.shape[1] + 1))
