"""The index of a pipeline of diffusers, `model_index.json`: what kind it is, and whether jaxdiff reads it."""

from typing import Any, NamedTuple

from jaxdiff.boundary import read_json
from jaxdiff.errors import InputError
from jaxdiff.interop.files import CheckpointFiles

INDEX = "model_index.json"


class Kind(NamedTuple):
    """A kind of text-to-image pipeline that jaxdiff reads.

    Attributes:
        about: its name in messages.
        encoders: the folders of its text encoders, each with the folder of its tokenizer.
    """

    about: str
    encoders: tuple[tuple[str, str], ...]


_ONE = (("text_encoder", "tokenizer"),)
KINDS = {
    "StableDiffusionPipeline": Kind("Stable Diffusion 1 or 2", _ONE),
    "StableDiffusionXLPipeline": Kind("Stable Diffusion XL", (*_ONE, ("text_encoder_2", "tokenizer_2"))),
}
"""The kinds of text-to-image pipelines by the class in their index."""
PARTS = {
    "unet": "UNet2DConditionModel",
    "vae": "AutoencoderKL",
    "text_encoder": "CLIPTextModel",
    "text_encoder_2": "CLIPTextModelWithProjection",
}
"""The classes of the networks of a pipeline by their folder."""
# What other pipelines are, by a part of their class; the first that matches.
_OTHERS = {
    "StableDiffusion3": "Stable Diffusion 3, whose network is a transformer",
    "Flux": "Flux, whose network is a transformer",
    "PixArt": "PixArt, whose network is a transformer",
    "Inpaint": "an inpainting model, whose network takes a mask",
    "InstructPix2Pix": "an editing model, whose network takes an image",
    "Upscale": "an upscaling model, whose network takes an image",
    "Depth2Img": "a depth-to-image model, whose network takes a depth map",
    "XLImg2Img": "the refiner of Stable Diffusion XL, which takes an image",
    "ControlNet": "a ControlNet model, whose network takes an image",
    "ImageVariation": "a model of variations, conditioned on an image",
    "Kandinsky": "Kandinsky",
    "Cascade": "Stable Cascade",
    "Wuerstchen": "Würstchen",
    "LatentConsistency": "a latent consistency model, whose network takes the guidance scale",
}


def class_of(encoders: int) -> str:
    """The class of pipelines with so many text encoders, 1 or 2."""
    return next(name for name, kind in KINDS.items() if len(kind.encoders) == encoders)


def read_kind(files: CheckpointFiles) -> Kind | None:
    """The kind of text-to-image pipeline that a checkpoint is; None without an index, or if it is a pipeline of pixels.

    Raises:
        InputError: it is a text-to-image pipeline that jaxdiff does not read, or has a part of another class.
    """
    if not files.has(INDEX):
        return None
    index = read_json(files.path(INDEX))
    name = index.get("_class_name")
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        parts = [part for part in ("text_encoder", "text_encoder_2", "tokenizer") if _class(index, part)]
        other = next((about for known, about in _OTHERS.items() if known in str(name)), None)
        if other or parts:
            reads = ", ".join(f"{about} ({known})" for known, (about, _) in KINDS.items())
            raise InputError(
                f"{files.label} is {other or f'a {str(name)[:100]}'}; of text-to-image pipelines jaxdiff reads {reads}"
            )
        return None
    for part, wanted in PARTS.items():
        needed = part in ("unet", "vae") or part in dict(kind.encoders)
        if needed and (got := _class(index, part)) != wanted:
            without = "none" if got is None else f"a {got}"
            raise InputError(f"{files.label}, {kind.about}, must have a {wanted} as its {part}, got {without}")
    return kind


def _class(index: dict[str, Any], part: str) -> str | None:
    """The class of a part; None for one that is left out, `[null, null]`."""
    entry = index.get(part)
    named = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[1], str)
    return entry[1] if named else None
