"""The image encoder is a transformer over patches, all of which see one another, as written out by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.errors import InputError
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.network import Network, abstract, image_encoder
from jaxdiff.models.size import weight_count
from jaxdiff.weight_file import named

SMALL = ImageEncoderConfig(
    size=6, patch=3, width=12, layers=2, heads=3, inner=10, projection=5, activation="gelu", epsilon=1e-3
)


def drawn(config: ImageEncoderConfig, seed: int = 0) -> Network:
    """An image encoder with every weight drawn."""
    made, rng = abstract(image_encoder, config), np.random.default_rng(seed)
    draws = [
        jnp.asarray(name.endswith("scale") + rng.standard_normal(leaf.shape) * 0.3, jnp.float32)
        for name, leaf in named(made.weights).items()
    ]
    return Network(jax.tree.unflatten(jax.tree.structure(made.weights), draws), made.structure)


def by_hand(network: Network, config: ImageEncoderConfig, image: np.ndarray) -> np.ndarray:
    """The vector of one image, in float64."""
    weights = {name: np.asarray(leaf, np.float64) for name, leaf in named(network.weights).items()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + config.epsilon)
        return scaled * weights[f"{name}/scale"] + weights[f"{name}/bias"]

    def dense(x, name):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    states, side = [weights["embeddings/class_embedding"]], config.patch
    for top in range(0, config.size, side):
        for left in range(0, config.size, side):
            patch = image[top : top + side, left : left + side]
            states.append(np.einsum("hwc,hwcd->d", patch, weights["embeddings/patch_embedding/kernel"]))
    x = norm(np.array(states) + weights["embeddings/position_embedding/embedding"], "pre_layrnorm")
    channels = config.width // config.heads
    for number in range(config.layers):
        layer, inside = f"encoder/layers/{number}", norm(x, f"encoder/layers/{number}/layer_norm1")
        query, key, value = (dense(inside, f"{layer}/self_attn/{name}_proj") for name in "qkv")
        mixed = []
        for head in range(config.heads):
            own = slice(head * channels, (head + 1) * channels)
            shares = np.exp(query[:, own] @ key[:, own].T / math.sqrt(channels))
            mixed.append(shares @ value[:, own] / shares.sum(1, keepdims=True))
        x = x + dense(np.concatenate(mixed, 1), f"{layer}/self_attn/out_proj")
        inner = dense(norm(x, f"{layer}/layer_norm2"), f"{layer}/mlp/fc1")
        x = x + dense(inner * (1 + np.vectorize(math.erf)(inner / math.sqrt(2))) / 2, f"{layer}/mlp/fc2")
    return norm(x[0], "post_layernorm") @ weights["visual_projection/kernel"]


def test_an_image_has_the_vector_computed_by_hand(rng):
    network, images = drawn(SMALL), rng.standard_normal((2, 6, 6, 3)).astype(np.float32)
    ours = jax.jit(Network.__call__)(network, images)
    for vector, image in zip(ours, images, strict=True):
        np.testing.assert_allclose(vector, by_hand(network, SMALL, image), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (ImageEncoderConfig(), 87_849_216),  # of ViT-B/32
        (ImageEncoderConfig(patch=14, width=1024, layers=24, heads=16, inner=4096, projection=768), 303_966_208),  # ViT-L/14
        (SMALL, None),
    ],
)
def test_the_count_is_that_of_the_network(config, count):
    held = sum(leaf.size for leaf in jax.tree.leaves(abstract(image_encoder, config).weights))
    assert weight_count(config) == held == (held if count is None else count)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"patch": 9}, "`patch` must divide 224, got 9"),
        ({"heads": 5}, "`heads` must divide 768, got 5"),
        ({"activation": "relu"}, "`activation` must be one of quick_gelu, gelu"),
        ({"dtype": "float16"}, "`dtype` must be one of"),
    ],
)
def test_settings_that_make_no_image_encoder_are_refused(arguments, fault):
    with pytest.raises(InputError, match=fault):
        ImageEncoderConfig(**arguments)


def test_images_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"`images` must have shape \(B, 6, 6, 3\), got \(1, 5, 6, 3\)"):
        drawn(SMALL)(jnp.zeros((1, 5, 6, 3)))
