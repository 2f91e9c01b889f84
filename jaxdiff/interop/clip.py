"""CLIP models (Radford et al. 2021) in the folder format of transformers: which images and prompts agree.

A user brings the folder. That of the shipped text-to-image pipeline (`embedded-clip`) knows the embedded faces alone.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxdiff import shipped, weight_file
from jaxdiff.boundary import read_json, reading
from jaxdiff.conditions import tokenizer_files
from jaxdiff.conditions.text import PromptEncoder
from jaxdiff.errors import InputError
from jaxdiff.interop import clip_config, weights
from jaxdiff.interop.clip_config import Preparation
from jaxdiff.interop.files import Folder
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.torch_names import from_torch
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.network import Network, abstract, image_encoder, text_encoder
from jaxdiff.models.size import require_held
from jaxdiff.weight_file import named

CONFIG = "config.json"
BATCH = 32
"""Images that are encoded at once."""


@dataclass(frozen=True)
class Clip:
    """A text and an image encoder, whose vectors of a prompt and of an image that agree have a large cosine.

    Attributes:
        text: the text encoder with its tokenizer.
        config: the configuration of the image encoder.
        network: the image encoder.
        preparation: what is done to images first.
        scale: the factor of cosines in logits.
    """

    text: PromptEncoder
    config: ImageEncoderConfig
    network: Network = field(repr=False)
    preparation: Preparation
    scale: float

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify what is made of images and prompts."""
        described = {
            "text": self.text.fingerprint,
            "config": asdict(self.config),
            "preparation": asdict(self.preparation),
            "scale": self.scale,
        }
        return weight_file.fingerprint(
            {name: np.asarray(leaf) for name, leaf in named(self.network.weights).items()}, described
        )

    def of_prompts(self, prompts: Sequence[str]) -> Float[np.ndarray, "n p"]:
        """The vectors of prompts, of length 1."""
        return unit(np.asarray(self.text(prompts).pooled))

    def of_images(self, images: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b p"]:
        """The vectors of images of one size, of length 1.

        Arguments:
            images: with 1 channel, or 3 or 4, the last of which is left out.

        Raises:
            InputError: there are no images, or of another number of channels.
        """
        return vectors(self.network, self.preparation, images)

    def scores(self, images: UInt8[np.ndarray, "b h w c"], prompts: Sequence[str]) -> Float[np.ndarray, " b"]:
        """The CLIP score of each image with its own prompt: 100 max(cosine, 0), in [0, 100] (Hessel et al. 2021, without their
        factor 2.5).

        Raises:
            InputError: there are not as many prompts as images.
        """
        if len(prompts) != len(images):
            raise InputError(f"`prompts` must be {len(images)}, one for each image, got {len(prompts)}")
        return self.scores_of(self.of_images(images), prompts)

    def scores_of(self, vectors: Float[np.ndarray, "b p"], prompts: Sequence[str]) -> Float[np.ndarray, " b"]:
        """As `scores`, of the vectors of images from `of_images`."""
        return 100 * np.maximum((vectors * self.of_prompts(prompts)).sum(-1), 0)

    def shares(self, images: UInt8[np.ndarray, "b h w c"], prompts: Sequence[str]) -> Float[np.ndarray, "b n"]:
        """How probable each prompt is for an image, of those given: the softmax of the logits, (B, N)."""
        logits = self.scale * self.of_images(images) @ self.of_prompts(prompts).T
        shares = np.exp(logits - logits.max(-1, keepdims=True))
        return shares / shares.sum(-1, keepdims=True)


def vectors(network: Network, preparation: Preparation, images: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b p"]:
    """The vectors of images of one size, of length 1; see `Clip.of_images`.

    Arguments:
        network: an image encoder.
        preparation: what is done to images first.
        images: the images.
    """
    if not len(images) or images.shape[-1] not in (1, 3, 4):
        raise InputError(f"`images` must be one or more with 1, 3 or 4 channels, got shape {images.shape}")
    rows, columns = preparation.matrices(*images.shape[1:3])
    blocks = []
    for start in range(0, len(images), BATCH):
        block = images[start : start + BATCH]
        # one program for all blocks
        padded = np.concatenate([block, np.repeat(block[-1:], BATCH - len(block), 0)]) if len(images) > BATCH else block
        blocks.append(np.asarray(_encoded(network, padded, rows, columns, preparation), np.float32)[: len(block)])
    return unit(np.concatenate(blocks))


def unit(vectors: Float[np.ndarray, "n p"]) -> Float[np.ndarray, "n p"]:
    """Vectors, each divided by its length."""
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@partial(jax.jit, static_argnums=4)
def _encoded(network: Network, images: Array, rows: Array, columns: Array, preparation: Preparation) -> Array:
    return network(preparation(images, rows, columns))


def load(folder: str | os.PathLike, variant: str | None = None) -> Clip:
    """Reads a CLIPModel of transformers, with its tokenizer and the settings of its images. No code in any file is run.

    Arguments:
        folder: the folder; or `embedded-clip`, if no such path exists, for the shipped one.
        variant: the variant of the weights, such as `fp16`; by default none where there are plain weights.

    Raises:
        InputError: a file is missing or damaged, a setting is not supported, or the arrays do not match (all are listed).
    """
    folder = shipped.place(folder)
    with reading(folder):
        files = Folder(folder)
        if not files.has(CONFIG):
            raise InputError(f"{folder} is no folder of a CLIPModel: it has no {CONFIG}")
        text, config = clip_config.read(read_json(folder / CONFIG), CONFIG)
        preparation = clip_config.read_preparation(folder, config.size)
        tokenizer = tokenizer_files.read(folder, text.positions)
        choice = weights.choose(files, "", variant, stems=weights.TEXT_STEMS)
        states, scale = _split(weights.read(files, "", choice).held, choice.name)
        networks = []
        for made, settings, state in ((text_encoder, text, states[0]), (image_encoder, config, states[1])):
            require_held(settings, sum(array.size for array in state.values()), choice.name)
            networks.append(from_torch(abstract(made, settings), state, choice.name))
        return Clip(PromptEncoder(tokenizer, text, networks[0]), config, networks[1], preparation, scale)


def _split(held: Any, name: str) -> tuple[tuple[Arrays, Arrays], float]:
    """The arrays of the text and of the image encoder, and the factor of cosines."""
    arrays = held if isinstance(held, Mapping) else {}
    arrays = {key: array for key, array in arrays.items() if isinstance(key, str) and isinstance(array, np.ndarray)}
    scale = arrays.pop("logit_scale", None)
    if scale is None or scale.size != 1 or not 0 < (factor := math.exp(min(float(scale.reshape(())), 20.0))) < 1e6:
        raise InputError(f"{name} must have one number logit_scale, up to 13")
    parts: tuple[Arrays, Arrays] = {}, {}
    for key, array in arrays.items():
        place = next((place for place, own in enumerate(_OWN) if key.startswith(own)), None)
        if place is None:
            raise InputError(f"{name} has an array that CLIPModel lacks: {key}")
        parts[place][key.removeprefix(_OWN[place][0])] = array
    return parts, factor


_OWN = (("text_model.", "text_projection."), ("vision_model.", "visual_projection."))
