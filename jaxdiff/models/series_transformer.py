"""The interpretable transformer of series of Diffusion-TS (Yuan & Qiao 2024, arXiv 2403.01742), which TimeBridge uses, too.

It differs from the code that was published with the papers in three places:

- The season is the inverse Fourier transform of the chosen frequencies, 2 / L times the sum of their cosines. The published
  code leaves 1 / L out, so that its season is L times the part of the hidden states at these frequencies; and below 7 steps
  it chooses no frequency at all.
- The label embedding enters all adaptive norms; there the cross-attention's is left without.
- The time embedding is that of 1000 t, since t in [0, 1] would barely vary it.
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.models import labels
from jaxdiff.models.layers import attend, layer_norm, linear, on_processor, sinusoids, trained_product
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.series_parts import DEGREE, fourier, inverse_fourier, polynomials, season_size, strongest

EXPANSION = 4
"""How many times wider the hidden layer of a feed-forward network is."""
EPSILON = 1e-5
"""Of the norms."""
MOST_STATES_ON_CPU = 3 * 2**16
"""The most numbers of a hidden state that a CPU computes with at once: they then stay in its cache."""
TAPS = 3
"""Steps of the convolutions."""
TIMESTEPS = 1000
"""The time embedding is of the position 1000 t."""


dense = partial(linear, product=trained_product)


class Decomposition(NamedTuple):
    """An estimate in parts, whose sum it is.

    Attributes:
        trend: polynomials, and the means, (B, L, F).
        season: the strongest frequencies, (B, L, F).
        residual: what is left, of mean zero over time, (B, L, F).
    """

    trend: Float[Any, "b l f"]
    season: Float[Any, "b l f"]
    residual: Float[Any, "b l f"]


class Coefficients(NamedTuple):
    """What a block of the decoder adds to the parts.

    Attributes:
        trend: coefficients of the polynomials, (B, 3, F).
        season: the Fourier coefficients of the hidden channels, all but the strongest of each zero, (B, 2 n, D).
        mean: the mean over time of the hidden states, as features, (B, 1, F).
    """

    trend: Float[Array, "b p f"]
    season: Float[Array, "b m d"]
    mean: Float[Array, "b 1 f"]


class TimeConvolution(nnx.Module):
    """A convolution over time that keeps the length, as one product: (B, L, C) -> (B, L, O).

    Arguments:
        inputs, outputs: channels.
        kernel: its steps, odd. Before and after the window are zeros.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, *, dtype: DTypeLike):
        self.kernel = nnx.Param(jnp.zeros((kernel, inputs, outputs)))
        self.bias = nnx.Param(jnp.zeros(outputs))
        self.dtype = dtype

    def __call__(self, x: Float[Array, "b l c"]) -> Float[Array, "b l o"]:
        kernel = self.kernel[...]
        taps, length = len(kernel), x.shape[1]
        padded = jnp.pad(x.astype(self.dtype), ((0, 0), (taps // 2, taps // 2), (0, 0)))
        unfolded = jnp.concatenate([padded[:, tap : tap + length] for tap in range(taps)], -1)
        weights = rearrange(kernel, "k c o -> (k c) o").astype(self.dtype)
        return trained_product(unfolded, weights, (((2,), (0,)), ((), ()))) + self.bias[...].astype(self.dtype)


class Attention(nnx.Module):
    """Multi-head attention of a sequence to another or itself."""

    def __init__(self, config: SeriesConfig):
        width, dtype = config.width, jnp.dtype(config.dtype)
        self.heads = config.heads
        self.query, self.key, self.value, self.out = (dense(width, width, dtype=dtype) for _ in range(4))

    def __call__(self, x: Float[Array, "b n d"], other: Float[Array, "b m d"]) -> Float[Array, "b n d"]:
        projected = (self.query(x), self.key(other), self.value(other))
        query, key, value = (rearrange(each, "b l (heads d) -> b l heads d", heads=self.heads) for each in projected)
        return self.out(rearrange(attend(query, key, value), "b l heads d -> b l (heads d)"))


class FeedForward(nnx.Module):
    """Two dense layers with a GELU between them."""

    def __init__(self, config: SeriesConfig):
        dtype, width = jnp.dtype(config.dtype), config.width
        self.inner = dense(width, EXPANSION * width, dtype=dtype)
        self.out = dense(EXPANSION * width, width, dtype=dtype)

    def __call__(self, x: Float[Array, "b l d"]) -> Float[Array, "b l d"]:
        return self.out(gelu(self.inner(x)))


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """x times the standard normal distribution function at x, exactly (Hendrycks & Gimpel 2016), computed in float32."""
    # JAX's own, with erfc, takes twice as long on a CPU
    wide = x.astype(jnp.float32)
    return (wide * (0.5 + 0.5 * jax.lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)


Modulation = tuple[Array, Array]
"""Scale and shift of an adaptive norm, (B, 1, D) each."""


def adapted(x: Float[Array, "b l d"], modulation: Modulation) -> Float[Array, "b l d"]:
    """An adaptive layer norm: normalised, times 1 + scale, plus shift; computed in float32."""
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    normed = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON)
    scale, shift = modulation
    return (normed * (1 + scale) + shift).astype(x.dtype)


class EncoderBlock(nnx.Module):
    """Self-attention and a feed-forward network, each after a norm and added to its input."""

    def __init__(self, config: SeriesConfig):
        self.attention = Attention(config)
        self.norm = layer_norm(config.width, epsilon=EPSILON, dtype=jnp.dtype(config.dtype))
        self.forward = FeedForward(config)

    def __call__(self, x: Float[Array, "b l d"], modulation: Modulation) -> Float[Array, "b l d"]:
        normed = adapted(x, modulation)
        x = x + self.attention(normed, normed)
        return x + self.forward(self.norm(x))


class Trend(nnx.Module):
    """From hidden states to coefficients of polynomials: a convolution over the channels, in which the steps of the window are
    its channels, a GELU, and a convolution over the degrees."""

    def __init__(self, config: SeriesConfig):
        self.kernel = nnx.Param(jnp.zeros((TAPS, config.length, DEGREE)))
        self.bias = nnx.Param(jnp.zeros(DEGREE))
        self.out = TimeConvolution(config.width, config.features, TAPS, dtype=jnp.float32)

    def __call__(self, taps: Float[Array, "b m d"]) -> Float[Array, "b 3 f"]:
        """Arguments: the products of the kernel with the hidden states, by tap and degree."""
        padded = jnp.pad(taps, ((0, 0), (0, 0), (1, 1)))
        width = taps.shape[-1]
        shifted = [padded[:, DEGREE * tap : DEGREE * (tap + 1), tap : tap + width] for tap in range(TAPS)]
        return self.out(gelu(sum(shifted) + self.bias[...][:, None]))


class DecoderBlock(nnx.Module):
    """Self-attention, cross-attention to the encoder and a feed-forward network, each after a norm and added to its input.

    Before the feed-forward network, trend and season are read off; after it, the mean over time, which is taken off.
    """

    def __init__(self, config: SeriesConfig):
        dtype, length = jnp.dtype(config.dtype), config.length
        self.length = length
        self.attention = Attention(config)
        self.cross_attention = Attention(config)
        self.norm = layer_norm(config.width, epsilon=EPSILON, dtype=dtype)
        self.forward = FeedForward(config)
        self.split = dense(length, 2 * length, dtype=jnp.float32)
        self.trend = Trend(config)
        self.mean = dense(config.width, config.features, dtype=jnp.float32)

    def __call__(
        self, x: Float[Array, "b l d"], encoded: Float[Array, "b l d"], modulations: tuple[Modulation, Modulation]
    ) -> tuple[Float[Array, "b l d"], Coefficients]:
        normed = adapted(x, modulations[0])
        x = x + self.attention(normed, normed)
        x = x + self.cross_attention(adapted(x, modulations[1]), encoded)
        trend, season = self.parts(x)
        x = x + self.forward(self.norm(x))
        mean = x.astype(jnp.float32).mean(1, keepdims=True)
        return x - mean.astype(x.dtype), Coefficients(trend, season, self.mean(mean))

    def parts(self, x: Float[Array, "b l d"]) -> tuple[Float[Array, "b 3 f"], Float[Array, "b m d"]]:
        """Coefficients of the trend and of the season.

        A dense layer over time gives one window to each. What follows it is linear in the window up to the trend's GELU and the
        season's choice, and is multiplied with the layer's kernel first, since the kernel is smaller than the hidden states.
        """
        kernel, bias = self.split.kernel[...], self.split.bias[...]  # ty: ignore[not-subscriptable]  # `linear` makes a bias
        of_trend, of_season = jnp.split(jnp.concatenate([kernel, bias[None]]), 2, -1)
        to_trend = rearrange(self.trend.kernel[...], "tap l p -> l (tap p)")
        weights = jnp.concatenate([of_trend @ to_trend, of_season @ fourier(self.length)], -1)
        read = jnp.einsum("bld,lm->bmd", x.astype(jnp.float32), weights[:-1]) + weights[-1][:, None]
        return self.trend(read[:, : TAPS * DEGREE]), strongest(read[:, TAPS * DEGREE :], season_size(self.length))


class Season(nnx.Module):
    """From the Fourier coefficients of the hidden channels to the season of each feature: a circular convolution over time."""

    def __init__(self, config: SeriesConfig):
        self.kernel = nnx.Param(jnp.zeros((config.season_kernel, config.width, config.features)))
        self.length = config.length

    def __call__(self, spectrum: Float[Array, "b m d"]) -> Float[Array, "b l f"]:
        kernel = self.kernel[...]
        inverse = inverse_fourier(self.length)
        # the features are fewer than the channels, and the frequencies fewer than the steps
        mixed = jnp.einsum("bmd,tdf->btmf", spectrum, kernel)
        shifted = np.stack([np.roll(inverse, len(kernel) // 2 - tap, axis=0) for tap in range(len(kernel))])
        return jnp.einsum("btmf,tlm->blf", mixed, shifted)


class SeriesTransformer(nnx.Module):
    """Estimates x_0 of a series as the sum of a trend, a season and a residual.

    Arguments:
        config: the shape of the network.
    """

    def __init__(self, config: SeriesConfig):
        self.config, width, dtype = config, config.width, jnp.dtype(config.dtype)
        inputs = config.features * (2 if config.known_input else 1)
        if config.end_input:
            self.embedding = TimeConvolution(config.features, width // 2, TAPS, dtype=dtype)
            self.end_embedding = TimeConvolution(inputs, width // 2, TAPS, dtype=dtype)
        else:
            self.embedding = TimeConvolution(inputs, width, TAPS, dtype=dtype)
        self.encoder_positions, self.decoder_positions = (nnx.Param(jnp.zeros((config.length, width))) for _ in range(2))
        rows = labels.rows(config.values, config.null_label)
        self.label_table = nnx.Param(jnp.zeros((rows, width))) if rows else None
        self.norms = config.encoder + 2 * config.decoder
        self.modulation = dense(width, 2 * width * self.norms, dtype=jnp.float32)
        self.encoder = nnx.List(EncoderBlock(config) for _ in range(config.encoder))
        self.decoder = nnx.List(DecoderBlock(config) for _ in range(config.decoder))
        self.season = Season(config)
        self.mean_scale = nnx.Param(jnp.ones(config.decoder))
        self.residual = TimeConvolution(width, config.features, TAPS, dtype=dtype)

    def __call__(
        self,
        x: Float[Array, "b l f"],
        time: Float[Array, " b"],
        condition: BridgeCondition | None = None,
        dropout_key: Array | None = None,
    ) -> Float[Array, "b l f"]:
        """The estimate of x_0, float32.

        Arguments:
            x: noised series (B, L, F).
            time: t in [0, 1], (B,).
            condition: the parts that the network takes; None is the same as none.
            dropout_key: not used: the network has no dropout.

        Raises:
            InputError: the series are of another shape, or a part of the condition is missing or of another shape.
        """
        trend, season, residual = self.decompose(x, time, condition)
        return trend + season + residual

    def decompose(
        self, x: Float[Array, "b l f"], time: Float[Array, " b"], condition: BridgeCondition | None = None
    ) -> Decomposition:
        """The estimate of x_0 in its parts, float32; for arguments and errors see `__call__`."""
        condition = BridgeCondition() if condition is None else condition
        self._check(x, condition)
        rows = len(x)
        pieces = -(-x.shape[0] * x.shape[1] * self.config.width // MOST_STATES_ON_CPU) if on_processor() else 1
        if pieces < 2 or rows < 2:
            return self._decompose(x, time, condition)
        size = -(-rows // min(pieces, rows))
        filled = -rows % size  # with zeros, which are cut off again: pieces of one size are compiled once
        split = jax.tree.map(
            lambda each: jnp.pad(each, [(0, filled)] + [(0, 0)] * (each.ndim - 1)).reshape(-1, size, *each.shape[1:]),
            (x, time, condition),
        )
        parts = jax.lax.map(lambda piece: self._decompose(*piece), split)
        return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:rows], parts)

    def _decompose(self, x: Array, time: Array, condition: BridgeCondition) -> Decomposition:
        """Of as many rows at once as there are."""
        modulations = self.modulate(time, condition)
        embedded = self.embed(x, condition)
        encoded = embedded + self.encoder_positions[...].astype(embedded.dtype)
        for block in self.encoder:
            encoded = block(encoded, modulations.pop(0))
        hidden, found = embedded + self.decoder_positions[...].astype(embedded.dtype), []
        for block in self.decoder:
            hidden, coefficients = block(hidden, encoded, (modulations.pop(0), modulations.pop(0)))
            found.append(coefficients)
        residual = self.residual(hidden).astype(jnp.float32)
        mean = residual.mean(1, keepdims=True)
        means = sum(scale * each.mean for scale, each in zip(self.mean_scale[...], found, strict=True))
        lines = jnp.einsum("bpf,lp->blf", sum(each.trend for each in found), polynomials(self.config.length))
        return Decomposition(lines + means + mean, self.season(sum(each.season for each in found)), residual - mean)

    def embed(self, x: Float[Array, "b l f"], condition: BridgeCondition) -> Float[Array, "b l d"]:
        """The series as hidden states; x_T has half of the channels. The mask is beside x_T or, without it, beside x."""
        end = condition.end if self.config.end_input else None
        inputs = x if end is None else end
        if self.config.known_input and condition.known is not None:
            inputs = jnp.concatenate([inputs, condition.known.astype(inputs.dtype)], -1)
        return self.embedding(inputs) if end is None else jnp.concatenate([self.embedding(x), self.end_embedding(inputs)], -1)

    def modulate(self, time: Float[Array, " b"], condition: BridgeCondition) -> list[Modulation]:
        """Scale and shift of each adaptive norm, from the time and the labels."""
        # the published network's: sines first, and the last frequency is 1 / 10,000
        embedding = sinusoids(TIMESTEPS * time, self.config.width, shift=1, sines_first=True, constant=True)
        if self.label_table is not None:
            table, config = self.label_table[...], self.config
            embedding = embedding + labels.embed(table, condition.labels, config.values, config.null_label)
        modulation = rearrange(self.modulation(nnx.silu(embedding)), "b (norm two d) -> norm two b 1 d", norm=self.norms, two=2)
        return [(each[0], each[1]) for each in modulation]

    def _check(self, x: Array, condition: BridgeCondition) -> None:
        config = self.config
        if x.shape[1:] != config.shape:
            raise InputError(f"`x` must be of shape (B, {config.length}, {config.features}), got {tuple(x.shape)}")
        for name, wanted in (("end", config.end_input), ("known", config.known_input)):
            given = getattr(condition, name)
            if wanted and (given is None or given.shape != x.shape):
                got = "None" if given is None else f"the shape {tuple(given.shape)}"
                raise InputError(f"`condition`: {name} must be of the shape of the series {tuple(x.shape)}, got {got}")
        if config.values and condition.labels is None:
            raise InputError("`condition`: labels is None; this network takes labels of its attributes, -1 for the null label")
