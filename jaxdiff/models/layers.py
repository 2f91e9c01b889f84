"""Layers shared by the networks, written so that XLA runs them near peak matrix throughput on CPUs too."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float


def group_count(channels: int, groups: int = 32) -> int:
    """The number of groups of a group norm: the greatest common divisor of the channels and `groups`."""
    return math.gcd(channels, groups)


class GroupNorm(nnx.Module):
    """Group normalisation over NHWC (Wu & He 2018), with statistics in float32.

    The sum runs over space first and over the channels of a group second, which XLA's CPU backend runs several times faster
    than one reduction over both.

    Arguments:
        channels: C of the input.
        groups: the requested number of groups, see `group_count`.
        epsilon: added to the variance.
    """

    def __init__(self, channels: int, groups: int = 32, epsilon: float = 1e-5):
        self.epsilon = epsilon
        self.groups = group_count(channels, groups)
        self.scale = nnx.Param(jnp.ones(channels))
        self.bias = nnx.Param(jnp.zeros(channels))

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        return _normalised(x, self.scale[...], self.bias[...], self.groups, self.epsilon)

    def silu(self, x: Float[Array, "b h w c"], *scale_shift: Float[Array, "b 1 1 c"]) -> Float[Array, "b h w c"]:
        """SiLU of the normalised x, or of that times 1 + scale plus shift.

        The backward pass computes it again from x. On CPUs a training step then takes about half the memory, in the same time
        within 10 %.
        """
        return _activated(x, self.scale[...], self.bias[...], self.groups, self.epsilon, *scale_shift)


def _normalised(x: Array, scale: Array, bias: Array, groups: int, epsilon: float) -> Array:
    """See `GroupNorm`."""
    batch, _, _, channels = x.shape

    def over_groups(statistic):
        grouped = statistic.reshape(batch, groups, -1)
        return jnp.broadcast_to(grouped.mean(-1, keepdims=True), grouped.shape).reshape(statistic.shape)

    wide = x.astype(jnp.float32)
    mean = over_groups(wide.mean((1, 2)))
    # E[x²] - E[x]² loses precision when the mean is large, so the deviations are summed instead
    variance = over_groups(jnp.square(wide - mean[:, None, None]).mean((1, 2)))
    gain = jax.lax.rsqrt(variance + epsilon) * scale
    shift = bias - mean * gain
    return (wide * gain.reshape(batch, 1, 1, channels) + shift.reshape(batch, 1, 1, channels)).astype(x.dtype)


@partial(jax.checkpoint, static_argnums=(3, 4))
def _activated(x: Array, scale: Array, bias: Array, groups: int, epsilon: float, *scale_shift: Array) -> Array:
    """See `GroupNorm.silu`."""
    normalised = _normalised(x, scale, bias, groups, epsilon)
    return nnx.silu(normalised * (1 + scale_shift[0]) + scale_shift[1] if scale_shift else normalised)


class _Undrawn:
    """Replaces Flax's random streams: `jaxdiff.models.network` draws the weights of all layers at once.

    Flax's streams count their draws, and tracing the counts takes seconds for a network of a hundred layers.
    """

    def params(self) -> None:
        """No key."""


_UNDRAWN = cast(nnx.Rngs, _Undrawn())


def convolution(
    inputs: int, outputs: int, kernel: int, *, strides: int = 1, centred: bool = False, bias: bool = True, dtype: DTypeLike
) -> nnx.Conv:
    """A same-padded convolution, zero until `jaxdiff.models.network` draws its weights.

    Arguments:
        strides: of the kernel; with 2, images of even size are padded below and to the right only.
        centred: pad equally on all sides instead.
    """
    zeros, padding = nnx.initializers.zeros_init(), kernel // 2 if centred else "SAME"
    return nnx.Conv(
        inputs, outputs, (kernel, kernel), strides=strides, padding=padding, use_bias=bias, dtype=dtype, kernel_init=zeros,
        rngs=_UNDRAWN,
    )  # fmt: skip


def linear(
    inputs: int, outputs: int, *, bias: bool = True, dtype: DTypeLike, product: Callable = jax.lax.dot_general
) -> nnx.Linear:
    """A dense layer, zero until `jaxdiff.models.network` draws its weights.

    Arguments:
        product: the product with the kernel, `jax.lax.dot_general` or `trained_product`.
    """
    zeros = nnx.initializers.zeros_init()
    return nnx.Linear(inputs, outputs, use_bias=bias, dtype=dtype, kernel_init=zeros, dot_general=product, rngs=_UNDRAWN)


def trained_product(x: Array, kernel: Array, dimensions: Any, **options: Any) -> Array:
    """`jax.lax.dot_general` of hidden states (..., I) and a kernel (I, O), in a form whose gradient is fast on a CPU.

    The gradient in the kernel is a product (O, I) that JAX transposes, and XLA's CPU backend moves the transposition into the
    product, which then takes two to three times as long. Here the kernel is transposed, behind a barrier.
    """
    if not on_processor():
        return jax.lax.dot_general(x, kernel, dimensions, **options)
    transposed = jax.lax.optimization_barrier(kernel.T)
    return jax.lax.dot_general(x, transposed, (((x.ndim - 1,), (1,)), ((), ())), **options)


def layer_norm(channels: int, *, epsilon: float = 1e-5, dtype: DTypeLike) -> nnx.LayerNorm:
    """Layer normalisation over the last axis (Ba et al. 2016), with statistics in float32."""
    # E[x²] - E[x]² loses precision when the mean is large
    return nnx.LayerNorm(channels, epsilon=epsilon, use_fast_variance=False, dtype=dtype, rngs=_UNDRAWN)


def embedding(count: int, channels: int, *, dtype: DTypeLike) -> nnx.Embed:
    """A table of vectors, zero until `jaxdiff.models.network` draws its weights."""
    return nnx.Embed(count, channels, dtype=dtype, embedding_init=nnx.initializers.zeros_init(), rngs=_UNDRAWN)


def attention_kernel(query: Float[Array, "b n heads d"]) -> Literal["cudnn"] | None:
    """The implementation of `jax.nn.dot_product_attention` for these queries: cuDNN's where supported, else XLA's.

    cuDNN's fused attention never writes the n x m weights to memory. It supports bfloat16 and float16 on NVIDIA GPUs since
    Ampere and heads of a multiple of 8 channels, up to 128 or, since Hopper, 256. Without a bias the number of keys is free.
    """
    _, length, _, channels = query.shape
    if jax.default_backend() != "gpu" or query.dtype not in (jnp.bfloat16, jnp.float16) or length % 2 or channels % 8:
        return None
    # on AMD devices this is the name of an architecture, not a number
    named = str(getattr(jax.devices()[0], "compute_capability", ""))
    capability = float(named) if named[:1].isdigit() else 0.0
    return "cudnn" if capability >= 8 and channels <= (256 if capability >= 9 else 128) else None


def on_processor() -> bool:
    """Whether programs run on one CPU device. Several CPU devices are emulated ones, treated as accelerators."""
    return jax.default_backend() == "cpu" and jax.local_device_count() == 1


def for_channels(value: float, channels: int) -> Float[Array, "..."]:
    """A constant that multiplies or adds to an array of so many channels, in float32.

    On a CPU it is a vector, which XLA's matrix library reads as it is. A scalar it would be given as an array of the whole
    shape, which stays in memory.
    """
    constant = jnp.float32(value)
    # without the barrier the vector is simplified to a scalar
    return jax.lax.optimization_barrier(jnp.full(channels, constant)) if on_processor() else constant


def attend(
    query: Float[Array, "b n heads d"], key: Float[Array, "b m heads d"], value: Float[Array, "b m heads d"]
) -> Float[Array, "b n heads d"]:
    """Scaled dot-product attention (Vaswani et al. 2017, equation 1), with logits and weights in float32.

    Where XLA would hold more than `MOST_WEIGHTS` of the n x m weights at once, or on a CPU `MOST_WEIGHTS_ON_CPU`, it is given
    them in pieces, which changes nothing: each query of a head has a softmax of its own.
    """
    if on_processor():
        return _attend_on_processor(query, key, value)
    batch, length, heads, _ = query.shape
    kernel = attention_kernel(query)
    pieces = -(-batch * heads * length * key.shape[1] // MOST_WEIGHTS)
    if kernel is None and pieces > 1 and length > 1:
        return _attend_in_pieces(query, key, value, min(pieces, length))
    return jax.nn.dot_product_attention(query, key, value, implementation=kernel)


MOST_WEIGHTS = 2**25
"""The most attention weights that are held at once, 128 MiB, unless a single query has more."""
MOST_WEIGHTS_ON_CPU = 2**22
"""That of a CPU: 16 MiB stay in its cache, which is faster and takes less memory."""
MANY_KEYS = 512
"""From how many keys on a CPU sums weights faster with the product of weights and values than on its own."""


def _attend_in_pieces(query: Array, key: Array, value: Array, pieces: int) -> Array:
    """Attention of equal numbers of queries at a time, the last filled up with zeros, which are cut off again."""
    length = query.shape[1]
    rows = -(-length // pieces)
    filled = jnp.pad(query, ((0, 0), (0, rows * pieces - length), (0, 0), (0, 0)))
    split = rearrange(filled, "b (piece n) heads d -> piece b n heads d", n=rows)
    # the backward pass computes the weights anew, instead of holding those of all pieces
    of_piece = jax.checkpoint(lambda piece: jax.nn.dot_product_attention(piece, key, value))
    return rearrange(jax.lax.map(of_piece, split), "piece b n heads d -> b (piece n) heads d")[:, :length]


def _attend_on_processor(query: Array, key: Array, value: Array) -> Array:
    """Attention on a CPU, whose cache holds the weights of several heads, or of several queries of one head.

    XLA's CPU backend would transpose the weights of `jax.nn.dot_product_attention` to multiply them: the axes are arranged for
    its products, once for all pieces.
    """
    batch, length, heads, _ = query.shape
    count = key.shape[1]
    query = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)  # fewer numbers than the logits
    query, value = (rearrange(each, "b n heads d -> (b heads) n d") for each in (query, value))
    key = rearrange(key, "b m heads d -> (b heads) d m")
    if length * count > MOST_WEIGHTS_ON_CPU:
        rows = max(1, MOST_WEIGHTS_ON_CPU // count)
        mixed = jax.lax.map(lambda head: _in_pieces(lambda row: _mix(row, *head[1:]), head[0], rows), (query, key, value))
    elif batch * heads * length * count > MOST_WEIGHTS_ON_CPU:
        mixed = _in_pieces(lambda head: _mix(*head), (query, key, value), MOST_WEIGHTS_ON_CPU // (length * count))
    else:
        mixed = _mix(query, key, value)
    return rearrange(mixed, "(b heads) n d -> b n heads d", b=batch)


def _in_pieces(function: Callable, arguments: Any, size: int) -> Array:
    """The function for each entry of the arguments, for `size` of them at a time."""
    # the backward pass computes the weights anew, instead of holding those of all pieces
    return jax.lax.map(jax.checkpoint(function), arguments, batch_size=size)


def _mix(query: Float[Array, "*n d"], key: Float[Array, "*d m"], value: Float[Array, "*m d"]) -> Float[Array, "*n d"]:
    """Attention of scaled queries, one or several, of one head or of several; the output is normalised, not the weights."""
    logits = jnp.matmul(query, key, preferred_element_type=jnp.float32)
    # the maximum cancels in the quotient, and so does its gradient
    largest = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
    weights = jnp.exp(logits - largest)
    if many := key.shape[-1] >= MANY_KEYS:
        value = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)
    mixed = jnp.matmul(weights.astype(value.dtype), value, preferred_element_type=jnp.float32)
    mixed, total = (mixed[..., :-1], mixed[..., -1:]) if many else (mixed, weights.sum(-1, keepdims=True))
    return (mixed / total).astype(value.dtype)


class Attention(nnx.Module):
    """Residual self-attention over the pixels of a feature map, as in ADM (Dhariwal & Nichol 2021).

    Arguments:
        channels: C of the input.
        head_channels: minimum channels of a head: C is split evenly among max(1, C // head_channels) heads.
        groups, epsilon: of the group norm before it.
        normalised: whether there is a group norm.
    """

    def __init__(
        self,
        channels: int,
        head_channels: int,
        *,
        groups: int = 32,
        epsilon: float = 1e-5,
        normalised: bool = True,
        dtype: DTypeLike,
    ):
        self.heads = max(1, channels // head_channels)
        self.norm = GroupNorm(channels, groups, epsilon) if normalised else None
        self.query_key_value = convolution(channels, 3 * channels, 1, dtype=dtype)
        self.out = convolution(channels, channels, 1, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        projected = self.query_key_value(x if self.norm is None else self.norm(x))
        projected = rearrange(projected, "b h w (which heads d) -> b (h w) which heads d", which=3, heads=self.heads)
        query, key, value = projected[:, :, 0], projected[:, :, 1], projected[:, :, 2]
        return x + self.out(rearrange(attend(query, key, value), "b (h w) heads d -> b h w (heads d)", h=x.shape[1]))


def space_to_depth(x: Float[Array, "b h w c"], factor: int) -> Array:
    """Blocks of `factor` x `factor` pixels as channels: (B, H, W, C) -> (B, H/f, W/f, f f C)."""
    return rearrange(x, "b (h row) (w column) c -> b h w (row column c)", row=factor, column=factor)


def depth_to_space(x: Float[Array, "b h w c"], factor: int) -> Array:
    """The inverse of `space_to_depth`."""
    return rearrange(x, "b h w (row column c) -> b (h row) (w column) c", row=factor, column=factor)


def repeated(x: Float[Array, "b h w c"]) -> Array:
    """Nearest-neighbour upsampling by 2: (B, H, W, C) -> (B, 2 H, 2 W, C)."""
    return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)


def convolve_repeated(conv: nnx.Conv, x: Float[Array, "b h w c"]) -> Array:
    """`conv(repeated(x))` of a 3x3 convolution: (B, H, W, C) -> (B, 2 H, 2 W, O).

    Of the three pixels under a row or a column of the kernel, two are copies of one pixel. Each of the four output pixels per
    input pixel is therefore a 2x2 convolution of `x` with summed weights: 4/9 of the products. This is faster on CPUs;
    accelerators run the one convolution, which uses their matrix units better.
    """
    if not on_processor():
        return conv(repeated(x))
    kernel, bias = conv.kernel[...], conv.bias[...]  # ty: ignore[not-subscriptable]  # `convolution` makes a bias
    summed = lambda k, odd: jnp.stack([k[0] + k[1], k[2]] if odd else [k[0], k[1] + k[2]])  # noqa: E731
    pixels = []
    for odd_row in (0, 1):
        of_row = summed(kernel, odd_row).swapaxes(0, 1)
        for odd_column in (0, 1):
            of_pixel = summed(of_row, odd_column).swapaxes(0, 1).astype(conv.dtype)
            padding = ((1 - odd_row, odd_row), (1 - odd_column, odd_column))
            layouts = ("NHWC", "HWIO", "NHWC")
            pixels.append(
                jax.lax.conv_general_dilated(x.astype(conv.dtype), of_pixel, (1, 1), padding, dimension_numbers=layouts)
            )
    return depth_to_space(jnp.concatenate(pixels, -1), 2) + bias.astype(conv.dtype)


def sinusoids(
    position: Float[Array, " b"],
    channels: int,
    *,
    shift: float | int = 0,
    sines_first: bool = False,
    constant: bool = False,
) -> Float[Array, "b c"]:
    """Sinusoidal features of a position (Vaswani et al. 2017): (B,) -> (B, channels).

    Arguments:
        position: (B,).
        channels: even.
        shift, constant: see `sinusoid_frequencies`.
        sines_first: whether the sines come before the cosines.
    """
    angles = position[:, None].astype(jnp.float32) * sinusoid_frequencies(channels, shift, constant=constant)
    halves = [jnp.cos(angles), jnp.sin(angles)]
    return jnp.concatenate(halves[::-1] if sines_first else halves, axis=-1)


def sinusoid_frequencies(
    channels: int, shift: float | int = 0, *, constant: bool = False
) -> Float[Array, " c"] | Float[np.ndarray, " c"]:
    """The frequencies of `sinusoids`: 10,000^(-k / (channels / 2 - shift)) for k = 0 .. channels / 2 - 1.

    Arguments:
        channels, shift: see `sinusoids`.
        constant: whether NumPy computes them, as constants of a program. Compilers differ in the last digit of an exponential,
            a difference of up to 10^-4 in the angles of timesteps near 1000; networks that were trained here have theirs.
    """
    exponents = -math.log(10_000.0) * (np if constant else jnp).arange(channels // 2) / (channels // 2 - shift)
    return np.exp(exponents.astype(np.float32)) if constant else jnp.exp(exponents)
