"""A network as a pure function: the structure is static, the weights are leaves."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Float, PRNGKeyArray

from jaxdiff.models.autoencoder import AutoencoderConfig, LatentDecoder, LatentEncoder
from jaxdiff.models.classifier import ClassifierConfig, EncoderClassifier
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.image_encoder import ImageEncoder, ImageEncoderConfig
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.series_transformer import Decomposition, SeriesTransformer
from jaxdiff.models.text_encoder import TextEncoder, TextEncoderConfig
from jaxdiff.models.unet import UNet
from jaxdiff.models.unet_condition import ConditionUNet
from jaxdiff.models.unet_condition_config import ConditionUNetConfig
from jaxdiff.parallel import replicate_at


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Network:
    """A module split once into structure and weights, so that jit, scan and vmap take it as an argument.

    Attributes:
        weights: the parameters, arrays in nested dictionaries: a training state of 2,000 leaves is flattened and
            unflattened at every step, which is several times slower with Flax's containers.
        structure: the module's graph definition.
    """

    weights: Any
    structure: Any = field(metadata={"static": True})

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        """The module's output under these weights."""
        return self._module(arguments, keywords)(*arguments, **keywords)

    def decompose(self, *arguments: Any) -> Decomposition:
        """The output of a transformer of series in its parts, see `SeriesTransformer.decompose`."""
        return self._module(arguments).decompose(*arguments)

    def _module(self, *given: Any) -> Any:
        return nnx.merge(self.structure, replicate_at(self.weights, given))


ZERO_OUTPUTS = (
    "conv_out", "attention/out", "pass_through", "head", "conv2", "proj_out", "attentions/0/to_out",
    "forward/out", "trend/out", "season/kernel", "mean/kernel", "residual/kernel",
)  # fmt: skip
"""Layers initialised to zero, so that every residual branch and the network's output start at zero (Dhariwal & Nichol 2021)."""


POSITIONS = 0.02
"""Tables of positions are uniform in [-0.02, 0.02], as those of Diffusion-TS."""


def unet(config: UNetConfig, key: PRNGKeyArray) -> Network:
    """A UNet with random weights drawn from `key`. Jit it over `key` to create the weights on the device."""
    return _fresh(lambda: UNet(config), key)


def noised_classifier(config: ClassifierConfig, key: PRNGKeyArray) -> Network:
    """A classifier of noised images with random weights drawn from `key`, like `unet`; its outputs are 0."""
    return _fresh(lambda: EncoderClassifier(config), key)


def series_transformer(config: SeriesConfig, key: PRNGKeyArray) -> Network:
    """A transformer of series with random weights drawn from `key`, like `unet`."""
    return _fresh(lambda: SeriesTransformer(config), key)


def text_encoder(config: TextEncoderConfig, key: PRNGKeyArray) -> Network:
    """A text encoder with random weights drawn from `key`, like `unet`."""
    return stored(_fresh(lambda: TextEncoder(config), key), config.dtype)


def image_encoder(config: ImageEncoderConfig, key: PRNGKeyArray) -> Network:
    """An image encoder with random weights drawn from `key`, like `unet`."""
    return stored(_fresh(lambda: ImageEncoder(config), key), config.dtype)


def with_tokens(
    config: TextEncoderConfig, network: Network, count: int, rows: Float[Any, "n d"]
) -> tuple[TextEncoderConfig, Network]:
    """A text encoder with more tokens, and its configuration.

    Arguments:
        config, network: the text encoder.
        count: its tokens in use, after which the new ones come.
        rows: the embeddings of the new tokens.
    """
    config = replace(config, vocabulary=count + len(rows))
    structure, _ = nnx.split(nnx.eval_shape(lambda: TextEncoder(config)), nnx.Param)
    embeddings = network.weights["embeddings"]
    table = embeddings["token_embedding"]["embedding"]
    table = jnp.concatenate([table[:count], jnp.asarray(rows, table.dtype)])
    embeddings = {**embeddings, "token_embedding": {"embedding": table}}
    return config, Network({**network.weights, "embeddings": embeddings}, structure)


def condition_unet(config: ConditionUNetConfig, key: PRNGKeyArray) -> Network:
    """A UNet of latents with random weights drawn from `key`, like `unet`."""
    return stored(_fresh(lambda: ConditionUNet(config), key), config.dtype)


def latent_encoder(config: AutoencoderConfig, key: PRNGKeyArray) -> Network:
    """The encoder of an autoencoder with random weights drawn from `key`, like `unet`."""
    return stored(_fresh(lambda: LatentEncoder(config), key), config.dtype)


def latent_decoder(config: AutoencoderConfig, key: PRNGKeyArray) -> Network:
    """The decoder of an autoencoder with random weights drawn from `key`, like `unet`."""
    return stored(_fresh(lambda: LatentDecoder(config), key), config.dtype)


def abstract(make: Callable[[Any, PRNGKeyArray], Network], config: Any) -> Network:
    """A network with shapes and types in place of weights.

    Arguments:
        make: one of the functions above.
        config: its configuration.
    """
    return _abstract(make, config, jax.dtypes.canonicalize_dtype(float))


@cache
def _abstract(make: Callable[[Any, PRNGKeyArray], Network], config: Any, _: Any) -> Network:
    """Remembered for each default dtype: random weights are float64 where `jax_enable_x64` is set."""
    return jax.eval_shape(partial(make, config), jax.random.key(0))


def stored(network: Network, dtype: str) -> Network:
    """A network whose kernels and tables are of a dtype; its norms and biases remain float32, as they enter sums."""
    weights = jax.tree.map(lambda leaf: leaf.astype(dtype) if leaf.ndim > 1 else leaf, network.weights)
    return Network(weights, network.structure)


def _fresh(module: Callable[[], nnx.Module], key: PRNGKeyArray) -> Network:
    """A module with random weights.

    Kernels are normal with variance 1 / fan-in, embeddings standard normal, positions uniform, scales one, biases and
    `ZERO_OUTPUTS` zero. All are slices of one draw: with one generator per array, XLA would take half a minute to compile.
    """
    structure, abstract = nnx.split(nnx.eval_shape(module), nnx.Param)
    named, tree = jax.tree_util.tree_flatten_with_path(nnx.to_pure_dict(abstract))
    drawn = jax.random.normal(key, (sum(leaf.size for _, leaf in named),))
    leaves, start = [], 0
    for path, leaf in named:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        piece = drawn[start : start + leaf.size].reshape(leaf.shape)
        start += leaf.size
        if name.endswith("kernel") and not any(zero in name for zero in ZERO_OUTPUTS):
            leaves.append(piece / math.sqrt(math.prod(leaf.shape[:-1])))
        elif name == "label_table" or name.endswith("embedding/embedding"):
            leaves.append(piece)
        elif name.endswith("positions"):
            leaves.append(POSITIONS * jax.lax.erf(piece / math.sqrt(2)))
        else:
            leaves.append(jnp.full_like(piece, name.endswith("scale")))
    return Network(jax.tree.unflatten(tree, leaves), structure)
