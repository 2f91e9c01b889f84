"""Recognises checkpoints whose network draws the latents of an autoencoder, which must not be taken for pixels.

The network itself does not say so: its configuration is that of a network of small images with three or four channels.
"""

import re
from typing import Any

from jaxdiff.boundary import read_json
from jaxdiff.errors import InputError
from jaxdiff.interop.files import CheckpointFiles, joined, places
from jaxdiff.interop.pipeline import INDEX

# Names of the part of a pipeline that turns latents into images, and what their classes are called.
DECODERS = ("vae", "vqvae", "vqgan", "vq_model", "movq", "autoencoder", "first_stage_model")
DECODER_CLASS = re.compile(r"Autoencoder|VQModel|VQGAN", re.IGNORECASE)


def refuse(files: CheckpointFiles, folder: str) -> None:
    """Raises `InputError` if the network in a folder is part of a pipeline that draws latents.

    Arguments:
        files: the files of the checkpoint.
        folder: the folder of the network in it.
    """
    for place in places(files, folder):
        if place.startswith("..") and not files.called(folder).startswith("unet"):
            continue  # another checkpoint's, beside a network that is alone in its folder
        index = joined(place, INDEX)
        pipeline = read_json(files.path(index)) if files.has(index) else {}
        found = _decoders(pipeline) or [name for name in DECODERS if files.has(joined(place, f"{name}/config.json"))]
        if found:
            kind = pipeline.get("_class_name")
            of = f", a {kind}," if isinstance(kind, str) else ""
            raise InputError(
                f"{files.label}{of} draws latents, which its {' and '.join(found)} turns into images; jaxdiff imports networks "
                "that draw pixels"
            )


def _decoders(pipeline: dict[str, Any]) -> list[str]:
    """The parts of a pipeline that turn latents into images; `[null, null]` is a part that is left out."""
    parts = {name: part[1] for name, part in pipeline.items() if isinstance(part, list) and len(part) == 2 and part[1]}
    return [name for name, kind in parts.items() if name in DECODERS or DECODER_CLASS.search(str(kind))]
