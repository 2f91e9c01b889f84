"""CLIP's text encoder (Radford et al. 2021), a causal transformer: the prompts of Stable Diffusion pass through one or two.

The modules are named as in transformers, so that files of weights need no table of names.
"""

from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jaxtyping import Array, Float, Int

from jaxdiff.bounds import Bounds, Positive, check_bounds
from jaxdiff.errors import InputError
from jaxdiff.models.config import DTYPES, MOST_BLOCKS, Width
from jaxdiff.models.layers import embedding, layer_norm, linear

MOST_TOKENS = 2**24
"""Limit of a vocabulary."""

ACTIVATIONS = {
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),  # of OpenAI's weights: SD 1, XL's first
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),  # of OpenCLIP's: SD 2, XL's second
}
"""The activations of the dense layers: x Φ(x) is `gelu`, and x sigmoid(1.702 x) approximates it (Hendrycks & Gimpel 2016)."""


@dataclass(frozen=True)
class TextEncoderConfig:
    """The configuration of a text encoder; by default that of Stable Diffusion 1.

    Arguments:
        vocabulary: number of tokens.
        width: channels D of the hidden states.
        layers: number of layers.
        heads: attention heads of a layer, a divisor of the width.
        inner: channels between the two dense layers of a layer.
        positions: the most tokens of a prompt.
        activation: one of `ACTIVATIONS`.
        epsilon: added to the variance by the layer norms.
        projection: channels of the projection of the pooled state; None without one.
        dtype: the type of the computation, `float32` or `bfloat16`; norms and attention weights are always float32.
    """

    vocabulary: Annotated[int, Bounds(least=1, limit=MOST_TOKENS)] = 49408
    width: Width = 768
    layers: Annotated[int, Bounds(least=1, limit=MOST_BLOCKS)] = 12
    heads: Width = 12
    inner: Width = 3072
    positions: Width = 77
    activation: str = "quick_gelu"
    epsilon: Positive = 1e-5
    projection: Width | None = None
    dtype: str = "float32"

    def __post_init__(self):
        check_bounds(self)
        if self.width % self.heads:
            raise InputError(f"`heads` must divide the width {self.width}, got {self.heads}")
        for name, value, options in (("activation", self.activation, ACTIVATIONS), ("dtype", self.dtype, DTYPES)):
            if value not in options:
                raise InputError(f"`{name}` must be one of {', '.join(options)}, got {value!r}")


class TextOutput(NamedTuple):
    """The output of a text encoder.

    Attributes:
        hidden: hidden states of all positions, (B, L, D).
        pooled: the last layer's normalised state at the end token, projected where there is a projection, (B, P).
    """

    hidden: Float[Any, "b l d"]
    pooled: Float[Any, "b p"]


class TextEncoder(nnx.Module):
    """The text encoder of a configuration."""

    def __init__(self, config: TextEncoderConfig):
        self.config, dtype = config, jnp.dtype(config.dtype)
        self.embeddings = TextEmbeddings(config)
        self.encoder = Layers(config, causal=True)
        self.final_layer_norm = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype)
        if config.projection is not None:
            self.text_projection = linear(config.width, config.projection, bias=False, dtype=dtype)

    def __call__(self, ids: Int[Array, "b l"], ends: Int[Array, " b"], *, skip: int = 0, normalised: bool = True) -> TextOutput:
        """Hidden states and the pooled state of tokens.

        A position sees those before it and itself, tokens that only pad the prompt included: Stable Diffusion masks none. The
        pooled state thus does not depend on what follows the end token.

        Arguments:
            ids: tokens, (B, L) with L at most the number of positions.
            ends: the position of the first end token of each row, (B,). Where tokens were added after the end token, it is not
                that of the largest id.
            skip: layers at the end that the hidden states leave out, 0 to the number of layers; the pooled state leaves out
                none. Stable Diffusion 1 and 2 take 0, or `clip_skip`; XL takes 1.
            normalised: whether the hidden states pass through the final layer norm; False for XL.

        Raises:
            InputError: there are more tokens than positions, or `skip` is out of range.
        """
        if ids.shape[1] > self.config.positions:
            raise InputError(f"`ids` must have at most {self.config.positions} tokens a row, got {ids.shape[1]}")
        if not 0 <= skip <= self.config.layers:
            raise InputError(f"`skip` must lie in 0 .. {self.config.layers}, the number of layers, got {skip}")
        states = [self.embeddings(ids)]
        for layer in self.encoder.layers:
            states.append(layer(states[-1]))
        hidden = states[-1 - skip]
        last = self.final_layer_norm(jnp.take_along_axis(states[-1], ends[:, None, None], axis=1)[:, 0])
        return TextOutput(
            self.final_layer_norm(hidden) if normalised else hidden,
            last if self.config.projection is None else self.text_projection(last),
        )


class TextEmbeddings(nnx.Module):
    """The sum of a token's embedding and its position's."""

    def __init__(self, config: TextEncoderConfig):
        dtype = jnp.dtype(config.dtype)
        self.token_embedding = embedding(config.vocabulary, config.width, dtype=dtype)
        self.position_embedding = embedding(config.positions, config.width, dtype=dtype)

    def __call__(self, ids: Int[Array, "b l"]) -> Float[Array, "b l d"]:
        return self.token_embedding(ids) + self.position_embedding(jnp.arange(ids.shape[1]))


class Layers(nnx.Module):
    """The layers of a transformer; for arguments see `Layer`."""

    def __init__(self, config: Any, *, causal: bool):
        self.layers = nnx.List(Layer(config, causal=causal) for _ in range(config.layers))


class Layer(nnx.Module):
    """A layer of a transformer with norms before its parts: x + attention(norm(x)), then x + dense(norm(x)).

    Arguments:
        config: has `width`, `heads`, `inner`, `activation`, `epsilon` and `dtype` of `TextEncoderConfig`.
        causal: whether a position sees only those before it and itself.
    """

    def __init__(self, config: Any, *, causal: bool):
        dtype = jnp.dtype(config.dtype)
        self.layer_norm1 = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype)
        self.self_attn = SelfAttention(config.width, config.heads, causal=causal, dtype=dtype)
        self.layer_norm2 = layer_norm(config.width, epsilon=config.epsilon, dtype=dtype)
        self.mlp = Dense(config)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class SelfAttention(nnx.Module):
    """Attention of a sequence to itself, with weights in float32."""

    def __init__(self, width: int, heads: int, *, causal: bool, dtype: Any):
        self.heads, self.causal = heads, causal
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (linear(width, width, dtype=dtype) for _ in range(4))

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        query, key, value = (
            rearrange(project(x), "b l (heads d) -> b l heads d", heads=self.heads)
            for project in (self.q_proj, self.k_proj, self.v_proj)
        )
        # XLA's: a prompt has an odd number of tokens, which cuDNN's does not take, and is encoded once
        mixed = jax.nn.dot_product_attention(query, key, value, is_causal=self.causal)
        return self.out_proj(rearrange(mixed, "b l heads d -> b l (heads d)"))


class Dense(nnx.Module):
    """Two dense layers with an activation between them."""

    def __init__(self, config: Any):
        dtype = jnp.dtype(config.dtype)
        self.activation = config.activation
        self.fc1 = linear(config.width, config.inner, dtype=dtype)
        self.fc2 = linear(config.inner, config.width, dtype=dtype)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        return self.fc2(ACTIVATIONS[self.activation](self.fc1(x)))
