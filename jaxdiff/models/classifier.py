"""A classifier of noised images: the encoder of a UNet, as in ADM (Dhariwal & Nichol 2021, section 4), with mean pooling."""

from dataclasses import dataclass
from typing import Annotated

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jaxdiff.bounds import Bounds
from jaxdiff.models.config import MOST_CLASSES, EncoderConfig
from jaxdiff.models.layers import linear, space_to_depth
from jaxdiff.models.unet import Encoder, block_keys, middle


@dataclass(frozen=True)
class ClassifierConfig(EncoderConfig):
    """The shape of a classifier of noised images.

    Arguments:
        values: number of classes, at least 2.
        others: see `EncoderConfig`.
    """

    values: Annotated[int, Bounds(least=2, limit=MOST_CLASSES)] = 2


class EncoderClassifier(Encoder):
    """Predicts the evidence for each value of an attribute from a noised image and its time.

    Arguments:
        config: the shape of the network.
    """

    def __init__(self, config: ClassifierConfig):
        super().__init__(config)
        width, embedding = self.widths[-1], 4 * config.base
        self.middle = nnx.List(middle(width, embedding, config))
        self.head = linear(width, config.values, dtype=jnp.float32)

    def __call__(
        self, x: Float[Array, "b h w c"], time: Float[Array, " b"], dropout_key: Array | None = None
    ) -> Float[Array, "b k"]:
        """The evidence for each value, float32.

        Arguments:
            x: noised images (B, H, W, C).
            time: t in [0, 1], (B,).
            dropout_key: enables dropout (for training).
        """
        embedding = nnx.silu(self.embed_time(time))
        keys = block_keys(dropout_key, len(self.down) + len(self.middle))
        pixels = space_to_depth(x.astype(jnp.dtype(self.config.dtype)), self.config.stem)
        hidden = self.descend(pixels, embedding, keys)[-1]
        for block in self.middle:
            hidden = self.call(block, hidden, embedding, next(keys))
        # no norm before the pooling: with one or two channels per group it would remove the means that carry the evidence
        return self.head(nnx.silu(hidden).astype(jnp.float32).mean((1, 2)))
