"""Reads a trained model, whichever program wrote it."""

import os
from pathlib import Path

from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff.interop import hub, reading
from jaxdiff.model import Model
from jaxdiff.weight_file import MODEL


def load(path: str | os.PathLike) -> Model:
    """Reads a model from a run of jaxdiff, a folder of diffusers or the Hugging Face hub.

    Arguments:
        path: the folder of a run or its model.safetensors; `embedded`, if no such path exists, for the model of the embedded
            faces shipped with jaxdiff; a folder of diffusers, also of Stable Diffusion 1, 2 or XL; or
            `hf://OWNER/NAME[@REVISION]`, which needs `jaxdiff[hub]`. For settings that their files lack, see
            `jaxdiff.interop.load` and `jaxdiff.interop.load_text_to_image`.

    Raises:
        InputError: the file does not exist, is truncated or damaged, is not a model, or its arrays do not match its network.
    """
    if hub.parsed(path) or (reading.is_diffusers(path) and not Path(path, MODEL.file).is_file()):
        return interop.load(path)
    return models.load(path)
