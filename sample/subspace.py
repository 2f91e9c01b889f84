"""`jaxdiff sample subspace`: the directions of what goes with a label."""

from pathlib import Path

import numpy as np

from jaxdiff._console import plots
from jaxdiff._console.first import write_once
from jaxdiff._console.output import claimed
from jaxdiff._console.terminal import console
from jaxdiff.errors import InputError
from jaxdiff.fairness import AssociatedSubspace, associated_subspace

from . import subspace_file
from .setting import Setting
from .subspace_options import Subspace
from .unlabelled import estimated, setting_of

SHOWN = 12


def subspace(options: Subspace) -> AssociatedSubspace:
    """Finds the subspace, writes it and for models of images its picture, and prints what it explains."""
    chosen = setting_of(options)
    how = {name: getattr(options, name) for name in ("far", "near", "own_share", "share")}
    with claimed(options.out, file=True):
        _, found = estimated(options, chosen, associated_subspace, **how)
        if not len(found.rows):
            raise InputError(
                f"nothing goes with {chosen.name} that the model shows: the directions of the label itself explain "
                f"{found.own_share:.1%} of its differences at large noise; a larger --share asks for more"
            )
        pictures = _pictures(found, chosen)
        write_once(options.out, lambda: _write(options.out, found, pictures, chosen))
    explained = ", ".join(f"{share:.1%}" for share in found.shares)
    console.print(
        f"directions of {chosen.name}: of its differences at large noise {len(found.own)} of its own explain "
        f"{found.own_share:.1%}, and {len(found.rows)} of what goes with it {found.shares.sum():.1%} ({explained})",
        highlight=False,
    )
    beside = f" and {_picture(options.out).name}" if pictures else ""
    console.print(f"written: {options.out}{beside}", highlight=False)
    return found


def _picture(out: Path) -> Path:
    return out.with_suffix(".png")


def _pictures(found: AssociatedSubspace, chosen: Setting) -> list[tuple[str, np.ndarray]]:
    """The first directions as images around grey, with their titles; none for other data."""
    if not chosen.model.space.shown.image_files:
        return []
    own, rows = found.own[:SHOWN], found.rows[:SHOWN]
    both = np.concatenate([own, rows])
    largest = np.abs(both).max(tuple(range(1, both.ndim)), keepdims=True)
    titles = [chosen.name] * len(own) + [f"{share:.1%}" for share in found.shares[: len(rows)]]
    return list(zip(titles, chosen.model.space.decode(both / largest), strict=True))


def _write(out: Path, found: AssociatedSubspace, pictures: list[tuple[str, np.ndarray]], chosen: Setting) -> None:
    """Writes the file and the picture."""
    subspace_file.write(out, found, chosen)
    if pictures:
        count = min(len(found.own), SHOWN)
        plots.directions(_picture(out), pictures[:count], pictures[count:], f"what goes with {chosen.name}")
