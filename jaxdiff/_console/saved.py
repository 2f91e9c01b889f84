"""What importing and exporting share: folders of diffusers that hold a model already, and a line about a model."""

from pathlib import Path

import jax

from jaxdiff import interop
from jaxdiff.conditions import Prompts
from jaxdiff.errors import InputError
from jaxdiff.loading import load
from jaxdiff.model import Model


def save_once(out: Path, model: Model) -> None:
    """Writes a model as a folder of diffusers, unless the same command did so before.

    Raises:
        InputError: the folder holds something else, or the format lacks features of the model.
    """
    if not _holds(out, model):
        interop.save(out, model)


def _holds(out: Path, model: Model) -> bool:
    if not (out / "unet").is_dir():
        return False
    try:
        return load(out).fingerprint == model.fingerprint
    except InputError:
        return False


def about(model: Model) -> str:
    """A one-line description of a model."""
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.network.weights))
    trained = f"{model.process.name} and {model.prediction}"
    if isinstance(model.conditions, Prompts):
        return f"{parameters / 1e6:.2f} M parameters of the UNet for {model.space}, prompts, {trained}"
    named = [f"{attribute.name} ({len(attribute.values)} values)" for attribute in model.conditions.attributes]
    return f"{parameters / 1e6:.2f} M parameters for {model.space} images, {', '.join(named) or 'no attributes'}, {trained}"
