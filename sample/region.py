"""`jaxdiff sample region`: where in images a label shows."""

from dataclasses import fields
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Bool, Float32, UInt8

from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console, working
from jaxdiff.data import open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import label_map, label_region
from jaxdiff.writing import whole

from .drawing import Drawing
from .methods.unconditional import Unconditional
from .options import Sampling
from .region_options import Region
from .setting import Setting, setting
from .solving import Solving

SHOWN = 8


def region(options: Region) -> Bool[np.ndarray, "height width"]:
    """Finds the region, writes it and its picture, and prints its size."""
    solving = {field.name: getattr(options, field.name) for field in fields(Solving)}
    chosen = setting(options.model, options.attribute, (), Sampling(**solving), method=Unconditional())
    if not chosen.model.space.shown.image_files:
        raise InputError(f"`jaxdiff sample region` is for models of images, and {options.model} is one of other data")
    if options.count % (devices := chosen.mesh.size):
        raise InputError(f"--count must be a multiple of the {devices} devices, got {options.count}")
    with claimed(options.out, file=True):
        images, changes = _changes(options, chosen)
        found = (
            label_region(changes, share=options.share, margin=options.margin)
            if options.known is None
            else _known(options, chosen)
        )
        _write(options.out, found, changes, images, chosen)
    console.print(f"region of {chosen.name}: {found.sum()} of {found.size} pixels ({found.mean():.1%})", highlight=False)
    console.print(f"written: {options.out} and {_picture(options.out).name}", highlight=False)
    return found


def _changes(options: Region, chosen: Setting) -> tuple[UInt8[np.ndarray, "b _ _ c"], Float32[np.ndarray, "h w"]]:
    """The images drawn without a label, as they are shown, and the map of the label."""
    drawing = Drawing(chosen, Unconditional(), options.seed)
    rows = options.count // jax.process_count()
    indices, ends = jax.process_index() * rows + np.arange(rows), np.zeros(rows, int)
    with working("drawing images without a label"), jax.set_mesh(chosen.mesh):
        x, _ = drawing.draw(indices, ends)
        conditions = [drawing.over_devices(drawing.plan.own(np.full(rows, value))) for value in range(drawing.plan.count)]
        # no image has this key
        key = jax.random.fold_in(jax.random.key(options.seed), 2**31 - 1)
        changes = label_map(
            chosen.model.denoiser(chosen.policy),
            chosen.model.process,
            drawing.over_devices(x),
            conditions,
            key=key,
            at=options.at,
        )
    return chosen.model.space.decode(x[:SHOWN]), changes


def _known(options: Region, chosen: Setting) -> Bool[np.ndarray, "height width"]:
    """The region that a data set knows, at the model's size. Raises `InputError` if it does not."""
    source = open_data(options.known, size=chosen.model.shape[:2])
    found = source.defining_region(chosen.name)
    if found is None:
        raise InputError(f"--known {options.known} does not know where {chosen.name!r} shows; leave it out")
    return found


def _picture(out: Path) -> Path:
    return out.with_name(f"{out.stem}.map.png")


def _write(out: Path, found: np.ndarray, changes: np.ndarray, images: np.ndarray, chosen: Setting) -> None:
    """Writes the region, and the picture."""
    from PIL import Image

    def written():
        with whole(out) as partial:
            Image.fromarray(np.where(found, np.uint8(255), np.uint8(0))).save(partial, format="PNG")
        plots.region(_picture(out), changes, found, images, f"where {chosen.name} shows")

    write_once(out, written)
