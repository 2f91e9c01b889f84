"""Files of embedded faces with chosen associations, for measurements that need data of a user's own."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from jaxdiff.data import embedded

INDEPENDENT = 60_000_000, 20_000
"""The first index and the number of `independent` faces, which no shipped model was trained on."""


def independent(file: Path) -> Path:
    """A file of embedded faces of 32 x 32 pixels without associations, to train attribute classifiers; written unless it is
    there."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        first, count = INDEPENDENT
        write_faces(file, np.arange(count) + first, size=32, **dict.fromkeys(embedded.DEFAULT_ASSOCIATIONS, (0.5, 0.5)))
    return file


def write_faces(file: Path, indices: Int[np.ndarray, " n"], *, size: int, **shares: tuple[float, float]) -> None:
    """Writes faces and all their labels as an .npz file.

    Arguments:
        file: the file.
        indices: of the faces.
        size: their height and width in pixels.
        shares: the share of the second value in each group, by attribute; by default those of the embedded faces.
    """
    images, labels = embedded.generate(indices, associations=embedded.DEFAULT_ASSOCIATIONS | shares, size=size)
    names = [attribute.name for attribute in embedded.ATTRIBUTES]
    np.savez(
        file, images=images, labels=labels, attributes=names,
        **{f"values_{attribute.name}": attribute.values for attribute in embedded.ATTRIBUTES},
    )  # fmt: skip
