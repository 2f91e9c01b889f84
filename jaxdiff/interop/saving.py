"""Writes a model as a folder of diffusers."""

import os

from jaxdiff.conditions import Prompts
from jaxdiff.interop import folder, text_to_image_folder
from jaxdiff.model import Model


def save(path: str | os.PathLike, model: Model) -> None:
    """Writes a model as a folder of diffusers, atomically.

    A model of images becomes a UNet2DModel, see `jaxdiff.interop.folder.save`; a text-to-image model becomes the pipeline that
    it is, see `jaxdiff.interop.text_to_image_folder.save`.

    Arguments:
        path: a folder that does not exist or is empty.
        model: the model.

    Raises:
        InputError: the folder is not empty or cannot be written, or the format lacks features of the model.
    """
    (text_to_image_folder if isinstance(model.conditions, Prompts) else folder).save(path, model)
