"""The safety checker of Stable Diffusion 1 in the folder format of diffusers: which images show one of its concepts.

A user brings the folder, `safety_checker/` of a pipeline. The vector of an image from a CLIP image encoder is compared with
those of 17 concepts and of 3 special ones, each with a threshold of its own. Where a special one is found, all thresholds after
it are lower.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from jaxdiff import weight_file
from jaxdiff.boundary import read_json, reading
from jaxdiff.bounds import shortened
from jaxdiff.errors import InputError
from jaxdiff.interop import clip_config, weights
from jaxdiff.interop.clip import CONFIG, unit, vectors
from jaxdiff.interop.clip_config import PREPARATION, Preparation
from jaxdiff.interop.files import Folder
from jaxdiff.interop.layers import Arrays
from jaxdiff.interop.torch_names import from_torch
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.network import Network, abstract, image_encoder
from jaxdiff.models.size import require_held
from jaxdiff.weight_file import named

CLASS = "StableDiffusionSafetyChecker"
FEATURES = "feature_extractor"
"""The folder of a pipeline, beside that of the checker, with the settings of its images."""
ADJUSTMENT = 0.01
"""By how much thresholds are lower after a special concept was found."""
DECIMALS = 3
"""Scores are rounded to these."""


@dataclass(frozen=True)
class SafetyChecker:
    """An image encoder, and concepts with thresholds.

    Attributes:
        config: the configuration of the image encoder.
        network: the image encoder.
        preparation: what is done to images first.
        concepts, special: the vector of each concept, and of each special one.
        thresholds, special_thresholds: the cosine of an image and each concept above which the image shows it.
    """

    config: ImageEncoderConfig
    network: Network = field(repr=False)
    preparation: Preparation
    concepts: Float[np.ndarray, "k p"] = field(repr=False)
    special: Float[np.ndarray, "s p"] = field(repr=False)
    thresholds: Float[np.ndarray, " k"]
    special_thresholds: Float[np.ndarray, " s"]

    @cached_property
    def fingerprint(self) -> str:
        """16 hexadecimal digits that identify what is made of images."""
        arrays = {name: np.asarray(leaf) for name, leaf in named(self.network.weights).items()}
        arrays |= {name: getattr(self, name) for name in ("concepts", "special", "thresholds", "special_thresholds")}
        described = {"config": asdict(self.config), "preparation": asdict(self.preparation)}
        return weight_file.fingerprint(arrays, described)

    def scores(self, images: UInt8[np.ndarray, "b h w c"]) -> Float[np.ndarray, "b k"]:
        """By how much each image is above the threshold of each concept, rounded as diffusers does: above 0 it shows it.

        Arguments:
            images: as of `jaxdiff.interop.clip.Clip.of_images`.

        Raises:
            InputError: as of `Clip.of_images`.
        """
        found = vectors(self.network, self.preparation, images)
        special, concepts = (found @ unit(each).T for each in (self.special, self.concepts))
        adjustment = np.zeros(len(images), np.float32)
        for place, threshold in enumerate(self.special_thresholds):
            shown = np.round(special[:, place] - threshold + adjustment, DECIMALS) > 0
            adjustment = np.where(shown, np.float32(ADJUSTMENT), adjustment)
        return np.round(concepts - self.thresholds + adjustment[:, None], DECIMALS)


def load(folder: str | os.PathLike, variant: str | None = None) -> SafetyChecker:
    """Reads the safety checker of a pipeline. No code in any file is run.

    Arguments:
        folder: the folder; `preprocessor_config.json` is in it, or in `feature_extractor` beside it.
        variant: the variant of the weights, such as `fp16`; by default none where there are plain weights.

    Raises:
        InputError: a file is missing or damaged, a setting is not supported, or the arrays do not match (all are listed).
    """
    folder = Path(folder)
    with reading(folder):
        given = read_json(folder / CONFIG)
        if given.get("architectures") != [CLASS]:
            raise InputError(f"{CONFIG} must name {CLASS} in architectures, got {shortened(given.get('architectures'))}")
        config = clip_config.read_image(given, CONFIG)
        own = (folder / PREPARATION).is_file()
        preparation = clip_config.read_preparation(folder if own else folder.resolve().parent / FEATURES, config.size)
        files = Folder(folder)
        choice = weights.choose(files, "", variant, stems=weights.TEXT_STEMS)
        state, concepts = _split(weights.read(files, "", choice).held, config.projection, choice.name)
        require_held(config, sum(array.size for array in state.values()), choice.name)
        return SafetyChecker(config, from_torch(abstract(image_encoder, config), state, choice.name), preparation, **concepts)


def _split(held: object, width: int, name: str) -> tuple[Arrays, dict[str, np.ndarray]]:
    """The arrays of the image encoder, and the concepts with their thresholds."""
    arrays = held if isinstance(held, Mapping) else {}
    arrays = {key: array for key, array in arrays.items() if isinstance(key, str) and isinstance(array, np.ndarray)}
    concepts = {}
    for ours, theirs in (("concepts", "concept_embeds"), ("special", "special_care_embeds")):
        for kind, suffix, shape in ((ours, "", (width,)), (_THRESHOLDS[ours], "_weights", ())):
            array = arrays.pop(f"{theirs}{suffix}", None)
            if array is None or array.shape[1:] != shape or array.ndim != 1 + len(shape) or not len(array):
                found = "none" if array is None else str(array.shape)
                raise InputError(f"{name} must have {theirs}{suffix} of shape {('K', *shape)}, got {found}")
            concepts[kind] = np.asarray(array, np.float32)
            if not np.isfinite(concepts[kind]).all():
                raise InputError(f"{name}: {theirs}{suffix} has NaN or infinity")
        if len(concepts[ours]) != len(concepts[_THRESHOLDS[ours]]):
            raise InputError(f"{name} must have one of {theirs}_weights for each of {theirs}")
    return {key.removeprefix(_WRAPPED).removeprefix(_WRAPPED): array for key, array in arrays.items()}, concepts


_THRESHOLDS = {"concepts": "thresholds", "special": "special_thresholds"}
_WRAPPED = "vision_model."  # once in files of transformers since version 5.6, before twice
