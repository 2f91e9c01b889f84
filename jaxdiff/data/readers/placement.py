"""What the folders of images mean: splits, classes or nothing."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from jaxdiff.data import splits

# folders 00000, 00001, ... that keep the number of files in one folder small, as of FFHQ and StyleGAN's data sets
_NUMBERED = re.compile(r"\d{4,}")


@dataclass(frozen=True)
class Placement:
    """Where images lie.

    Attributes:
        splits: the split of each image by its folder or archive; None unless all lie in folders of at least two splits. A
            missing validation or test split is taken from train by the hash of the names.
        rest: the path of each image within its split's folder or its archive, without folders that contain all images.
        notes: a line if a split is taken from train.
    """

    splits: Shaped[np.ndarray, " n"] | None
    rest: tuple[str, ...]
    notes: tuple[str, ...]

    @staticmethod
    def of(names: Sequence[str], archives: Sequence[str] = ()) -> "Placement":
        """The placement of images with these names, where names in `archives` are prefixes of the files of an archive each."""
        if archives:
            by_archive = {archive: _split_of(archive) for archive in archives}
            holders = [_holder(name, by_archive) for name in names]
            found = [by_archive[holder] for holder in holders]
            rest = [name.removeprefix(f"{holder}/") for name, holder in zip(names, holders, strict=True)]
        else:
            rest = _without_common(names)
            found = [splits.named(name.partition("/")[0]) if "/" in name else None for name in rest]
        if None in found or len(set(found)) < 2:
            return Placement(None, tuple(rest), ())
        if not archives:
            rest = [name.partition("/")[2] for name in rest]
        given = np.array(found)
        assigned = splits.completed(given, names)
        lacking = [each for each in splits.SPLITS[1:] if each not in given and each in assigned]
        notes = (f"there is no {' or '.join(lacking)} split: taken from train by a fixed hash",) if lacking else ()
        return Placement(assigned, tuple(rest), notes)

    def classes(self) -> list[str] | None:
        """The folder of each image directly within its split; None unless these are the folders of at least two classes."""
        if not all("/" in name for name in self.rest):
            return None
        found = [name.partition("/")[0] for name in self.rest]
        distinct = set(found)
        return None if len(distinct) < 2 or all(map(_NUMBERED.fullmatch, distinct)) else found


def _split_of(archive: str) -> str | None:
    """Train for `data/train-000000` and for `train/000000`."""
    words = (re.split(r"[-_.]", part)[0] for part in reversed(archive.split("/")))
    return next((split for word in words if (split := splits.named(word)) is not None), None)


def _holder(name: str, archives: Container[str]) -> str:
    """The archive of a file."""
    while name not in archives:
        name = name.rpartition("/")[0]
    return name


def _without_common(names: Sequence[str]) -> list[str]:
    """The names without the folders that contain all of them."""
    rest = list(names)
    while rest and all("/" in name for name in rest) and len({name.partition("/")[0] for name in rest}) == 1:
        rest = [name.partition("/")[2] for name in rest]
    return rest
