"""`jaxdiff sample region`: where in images a label shows."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console
from jaxdiff.data import open_data
from jaxdiff.errors import InputError
from jaxdiff.fairness import label_map, label_region
from jaxdiff.writing import whole

from .region_options import Region
from .setting import Setting
from .unlabelled import estimated, setting_of

SHOWN = 8


def region(options: Region) -> Bool[np.ndarray, "height width"]:
    """Finds the region, writes it and its picture, and prints its size."""
    chosen = setting_of(options)
    if not chosen.model.space.shown.image_files:
        raise InputError(f"`jaxdiff sample region` is for models of images, and {options.model} is one of other data")
    with claimed(options.out, file=True):
        x, changes = estimated(options, chosen, label_map, at=options.at)
        found = (
            label_region(changes, share=options.share, margin=options.margin)
            if options.known is None
            else _known(options, chosen)
        )
        _write(options.out, found, changes, chosen.model.space.decode(x[:SHOWN]), chosen)
    console.print(f"region of {chosen.name}: {found.sum()} of {found.size} pixels ({found.mean():.1%})", highlight=False)
    console.print(f"written: {options.out} and {_picture(options.out).name}", highlight=False)
    return found


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
