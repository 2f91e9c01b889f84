"""Reads a trained model, whichever program wrote it."""

import os

from jaxdiff import interop, shipped
from jaxdiff import model as models
from jaxdiff.interop import hub, reading
from jaxdiff.model import Model
from jaxdiff.weight_file import MODEL


def load(path: str | os.PathLike) -> Model:
    """Reads a model from a run of jaxdiff, a folder of diffusers or the Hugging Face hub.

    Arguments:
        path: the folder of a run or its model.safetensors; a folder of diffusers, also of Stable Diffusion 1, 2 or XL;
            `hf://OWNER/NAME[@REVISION]`, which needs `jaxdiff[hub]`; or, if no such path exists, `embedded` for the shipped
            model of the embedded faces, `embedded-series` for that of sines with gaps, `embedded-text` for the shipped
            text-to-image pipeline, which needs `jaxdiff[text]`.
            For settings that their files lack, see `jaxdiff.interop.load` and `jaxdiff.interop.load_text_to_image`.

    Raises:
        InputError: the file does not exist, is truncated or damaged, is not a model, or its arrays do not match its network.
    """
    if not hub.parsed(path):
        path = shipped.place(path)
        if not reading.is_diffusers(path) or (path / MODEL.file).is_file():
            return models.load(path)
    return interop.load(path)
