"""The settings of a CLIP model in transformers: its two encoders, and what is done to images first."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Num

from jaxdiff.boundary import read_json, reading
from jaxdiff.bounds import check_values, shortened
from jaxdiff.errors import InputError
from jaxdiff.interop import text_encoder_config
from jaxdiff.interop.text_encoder_config import IDLE, PROJECTED
from jaxdiff.models.config import MOST_CHANNELS
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.text_encoder import ACTIVATIONS, TextEncoderConfig
from jaxdiff.quality.resizing import bicubic_matrix

CLASS, IMAGE_TYPE = "CLIPModel", "clip_vision_model"
PREPARATION, PROCESSOR = "preprocessor_config.json", "processor_config.json"
# Our arguments by their names in CLIPVisionConfig, with its defaults.
ARGUMENTS: dict[str, tuple[str, Any]] = {
    "image_size": ("size", 224),
    "patch_size": ("patch", 32),
    "num_channels": ("channels", 3),
    "hidden_size": ("width", 768),
    "num_hidden_layers": ("layers", 12),
    "num_attention_heads": ("heads", 12),
    "intermediate_size": ("inner", 3072),
    "hidden_act": ("activation", "quick_gelu"),
    "layer_norm_eps": ("epsilon", 1e-5),
}
# Settings of text generation, which older versions wrote for every model.
GENERATION = {
    "add_cross_attention", "bad_words_ids", "begin_suppress_tokens", "cross_attention_hidden_size", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "length_penalty", "max_length", "min_length",
    "no_repeat_ngram_size", "num_beam_groups", "num_beams", "num_return_sequences", "output_scores", "prefix", "pruned_heads",
    "remove_invalid_values", "repetition_penalty", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
    "temperature", "tf_legacy_loss", "tie_encoder_decoder", "top_k", "top_p", "typical_p",
}  # fmt: skip
_WHOLE = {"text_config", "vision_config", "text_config_dict", "vision_config_dict", "projection_dim", "model_type"}
_IDLE_WHOLE = {"logit_scale_init_value"}  # the value lies in the weights


@dataclass(frozen=True)
class Preparation:
    """How images are resized, cut and normalised, as Pillow does it.

    Attributes:
        edge: pixels of the shorter edge after the resize, which is bicubic.
        crop: height and width of what is kept of the middle.
        mean, deviation: of each channel, in [0, 1], which become 0 and 1.
    """

    edge: int
    crop: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    def matrices(self, height: int, width: int) -> tuple[Float32[np.ndarray, "crop h"], Float32[np.ndarray, "crop w"]]:
        """The weights of resize and crop along each axis, for images of a size."""
        shorter = min(height, width)
        resized = [self.edge if each == shorter else int(self.edge * each / shorter) for each in (height, width)]
        starts = [(each - self.crop) // 2 for each in resized]
        rows, columns = (
            bicubic_matrix(before, after)[start : start + self.crop]
            for before, after, start in zip((height, width), resized, starts, strict=True)
        )
        return rows, columns

    def __call__(self, images: Num[Any, "b h w c"], rows: Any, columns: Any) -> Float[Array, "b crop crop 3"]:
        """Images in 0..255, prepared; `rows` and `columns` are `matrices` of their size."""
        x = images[..., :3].astype(jnp.float32)
        # Pillow rounds to levels after each axis, the rows of pixels first
        for weights, form in ((columns, "pw,bhwc->bhpc"), (rows, "oh,bhpc->bopc")):
            x = jnp.clip(jnp.floor(jnp.einsum(form, weights, x, precision="highest") + 0.5), 0, 255)
        x = jnp.broadcast_to(x, (*x.shape[:-1], 3))
        return (x / 255 - jnp.asarray(self.mean)) / jnp.asarray(self.deviation)


def read(given: Mapping[str, Any], name: str = "config.json") -> tuple[TextEncoderConfig, ImageEncoderConfig]:
    """The configurations of the text and the image encoder in the `config.json` of a CLIPModel.

    Raises:
        InputError: it is of another class, or has a setting that is not supported, which is named.
    """
    image = read_image(given, name)
    text = {**_part(given, "text_config", name), "projection_dim": image.projection}
    return text_encoder_config.read(text, kind=PROJECTED, name=f"{name}, text_config"), image


def read_image(given: Mapping[str, Any], name: str = "config.json") -> ImageEncoderConfig:
    """The configuration of the image encoder alone; arguments and errors as of `read`."""
    if given.get("model_type") != "clip":
        raise InputError(f"{name} must describe a {CLASS}, with model_type 'clip', got {shortened(given.get('model_type'))}")
    _require_known(given, _WHOLE | _IDLE_WHOLE, CLASS, name)
    return _image(_part(given, "vision_config", name), given.get("projection_dim", 512), f"{name}, vision_config")


def _part(given: Mapping[str, Any], key: str, name: str) -> dict[str, Any]:
    """The settings of an encoder, without those of text generation."""
    # where there is a dict, it is what the model was made with
    part = given.get(f"{key}_dict") if given.get(f"{key}_dict") is not None else given.get(key)
    if not isinstance(part, dict):
        raise InputError(f"{name}: {key} must be an object, got {shortened(part)}")
    return {setting: value for setting, value in part.items() if setting not in GENERATION}


def _image(given: Mapping[str, Any], projection: Any, name: str) -> ImageEncoderConfig:
    _require_known(given, ARGUMENTS.keys() | {"model_type", "projection_dim"}, "CLIPVisionConfig", name)
    if given.get("model_type", IMAGE_TYPE) != IMAGE_TYPE:
        raise InputError(f"{name}: model_type is {shortened(given['model_type'])}; jaxdiff reads {IMAGE_TYPE}")
    settings = {ours: given.get(theirs, default) for theirs, (ours, default) in ARGUMENTS.items()}
    if not isinstance(settings["activation"], str) or settings["activation"] not in ACTIVATIONS:
        taken = " or ".join(ACTIVATIONS)
        raise InputError(f"{name}: hidden_act is {shortened(settings['activation'])}; our image encoder takes {taken}")
    settings["projection"] = projection
    with reading(name):
        check_values(ImageEncoderConfig, settings)
        settings["epsilon"] = float(settings["epsilon"])
        return ImageEncoderConfig(**settings)


def _require_known(given: Mapping[str, Any], known: set[str], kind: str, name: str) -> None:
    if unknown := sorted(key for key in given if not key.startswith("_") and key not in known | IDLE):
        raise InputError(f"{name} has settings that {kind} lacks: {', '.join(map(shortened, unknown))}")


def read_preparation(folder: Path, size: int) -> Preparation:
    """What is done to images first, from a folder's `preprocessor_config.json` or `processor_config.json`.

    Arguments:
        folder: the folder.
        size: height and width of the images that the image encoder takes.

    Raises:
        InputError: there is neither, or another kind of resize, crop or scale than CLIP's.
    """
    found = next((name for name in (PREPARATION, PROCESSOR) if (folder / name).is_file()), None)
    if found is None:
        raise InputError(f"{folder} has no {PREPARATION}, which says how images are prepared")
    given = read_json(folder / found)
    given = given.get("image_processor", given)
    with reading(found):
        for key in ("do_resize", "do_center_crop", "do_rescale", "do_normalize"):
            if given.get(key, True) is not True:
                raise InputError(f"{key} is {shortened(given[key])}; jaxdiff takes true")
        if given.get("resample", 3) != 3:
            raise InputError(f"resample is {shortened(given['resample'])}; jaxdiff takes 3, bicubic")
        if abs(given.get("rescale_factor", 1 / 255) * 255 - 1) > 1e-6:
            raise InputError(f"rescale_factor is {shortened(given['rescale_factor'])}; jaxdiff takes 1 / 255")
        edge, crop = _edge(given["size"], ("shortest_edge",)), _edge(given["crop_size"], ("height", "width"))
        if not crop == size <= edge:
            raise InputError(f"size {edge} and crop_size {crop} must make images of {size} pixels, those of the image encoder")
        return Preparation(edge, crop, _channels(given["image_mean"], -1e-9), _channels(given["image_std"], 0.0))


def _edge(given: Any, keys: tuple[str, ...]) -> int:
    """A number of pixels, given by itself or by each of some keys."""
    values = {given[key] for key in keys} if isinstance(given, dict) else {given}
    (value,) = values if len(values) == 1 else (None,)
    if type(value) is not int or not 1 <= value <= MOST_CHANNELS:
        raise InputError(f"a size must be a whole number of pixels, up to {MOST_CHANNELS:,}, got {shortened(given)}")
    return value


def _channels(given: Any, above: float) -> tuple[float, float, float]:
    """A number above another for each channel."""
    match given:
        case [int() | float(), int() | float(), int() | float()] if all(above < each < 1e6 for each in given):
            return float(given[0]), float(given[1]), float(given[2])
    raise InputError(f"image_mean and image_std must be three numbers each, of at least 0, got {shortened(given)}")
