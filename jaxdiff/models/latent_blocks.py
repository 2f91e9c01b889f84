"""The blocks that the UNet and the autoencoder of Stable Diffusion share (Rombach et al. 2022).

Attributes of the modules have the names of diffusers, so that one rule maps the names of all weights, see
`jaxdiff.interop.torch_names`.
"""

import jax.numpy as jnp
from einops import rearrange
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from jaxdiff.models.layers import GroupNorm, attend, convolution, convolve_repeated, linear, repeated


class ResidualBlock(nnx.Module):
    """norm, SiLU, conv, (plus the embedding,) norm, SiLU, conv, plus a skip.

    Arguments:
        inputs, outputs: channels.
        embedding: channels of the embedding; None for a block without one.
        groups, epsilon: of the group norms.
    """

    def __init__(
        self, inputs: int, outputs: int, embedding: int | None = None, *, groups: int, epsilon: float, dtype: DTypeLike
    ):
        self.norm1 = GroupNorm(inputs, groups, epsilon)
        self.conv1 = convolution(inputs, outputs, 3, dtype=dtype)
        self.time_emb_proj = None if embedding is None else linear(embedding, outputs, dtype=dtype)
        self.norm2 = GroupNorm(outputs, groups, epsilon)
        self.conv2 = convolution(outputs, outputs, 3, dtype=dtype)
        self.conv_shortcut = None if inputs == outputs else convolution(inputs, outputs, 1, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"], embedding: Float[Array, "b e"] | None = None) -> Float[Array, "b h w o"]:
        """Arguments: x; the embedding after its activation."""
        hidden = self.conv1(self.norm1.silu(x))
        if self.time_emb_proj is not None and embedding is not None:
            hidden = hidden + self.time_emb_proj(embedding)[:, None, None]
        hidden = self.conv2(self.norm2.silu(hidden))
        return (x if self.conv_shortcut is None else self.conv_shortcut(x)) + hidden


class Downsampler(nnx.Module):
    """A 3x3 convolution of stride 2.

    Arguments:
        centred: whether images are padded on all sides, as in the UNet; the autoencoder pads below and to the right.
    """

    def __init__(self, channels: int, *, centred: bool, dtype: DTypeLike):
        self.conv = convolution(channels, channels, 3, strides=2, centred=centred, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h2 w2 c"]:
        return self.conv(x)


class Upsampler(nnx.Module):
    """Nearest-neighbour upsampling by 2 and a 3x3 convolution."""

    def __init__(self, channels: int, *, dtype: DTypeLike):
        self.conv = convolution(channels, channels, 3, dtype=dtype)

    def __call__(self, x: Float[Array, "b h w c"], size: tuple[int, ...] | None = None) -> Float[Array, "b h2 w2 c"]:
        """Arguments: x; the height and width of the output, where they are odd: the last row or column is left out."""
        _, height, width, _ = x.shape
        if size is None or size == (2 * height, 2 * width):
            return convolve_repeated(self.conv, x)
        return self.conv(repeated(x)[:, : size[0], : size[1]])


class Projections(nnx.Module):
    """Attention of several heads between projections.

    Arguments:
        channels: of the queries and of the output.
        attended: channels of what is attended to.
        heads: the number of heads, a divisor of `channels`.
        bias: whether the projections to queries, keys and values have a bias.
    """

    def __init__(self, channels: int, attended: int, heads: int, *, bias: bool = False, dtype: DTypeLike):
        self.heads = heads
        self.to_q = linear(channels, channels, bias=bias, dtype=dtype)
        self.to_k = linear(attended, channels, bias=bias, dtype=dtype)
        self.to_v = linear(attended, channels, bias=bias, dtype=dtype)
        self.to_out = nnx.List([linear(channels, channels, dtype=dtype)])

    def mix(self, x: Float[Array, "b n c"], attended: Float[Array, "b m d"]) -> Float[Array, "b n c"]:
        """What each of `x` finds in `attended`; every one of `attended` counts."""
        split = lambda each: rearrange(each, "b n (heads d) -> b n heads d", heads=self.heads)  # noqa: E731
        mixed = attend(split(self.to_q(x)), split(self.to_k(attended)), split(self.to_v(attended)))
        return self.to_out[0](rearrange(mixed, "b n heads d -> b n (heads d)"))


class PixelAttention(Projections):
    """Residual self-attention of one head over the pixels of a feature map, as in the autoencoder."""

    def __init__(self, channels: int, *, groups: int, epsilon: float, dtype: DTypeLike):
        super().__init__(channels, channels, 1, bias=True, dtype=dtype)
        self.group_norm = GroupNorm(channels, groups, epsilon)

    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        pixels = rearrange(self.group_norm(x), "b h w c -> b (h w) c")
        return x + rearrange(self.mix(pixels, pixels), "b (h w) c -> b h w c", h=x.shape[1])


def normalised_output(norm: GroupNorm, conv: nnx.Conv, x: Float[Array, "b h w c"]) -> Float[Array, "b h w o"]:
    """The last layers of a network: norm, SiLU, conv; float32."""
    return conv(norm.silu(x)).astype(jnp.float32)
