"""Small data sets whose labels can be read off their pixels."""

import numpy as np
import pytest
from PIL import Image


def _write(folder, kinds, kind="csv", suffix="png"):
    images = np.zeros((len(kinds), 4, 4, 3), np.uint8)
    for image, each in zip(images, kinds, strict=True):
        image[..., 2 if each == "blue" else 0] = 200 if each in ("red", "blue") else 0
    if kind == "npz":
        np.savez(folder / "x.npz", images=images, labels=np.array(kinds), attributes=["kind"])
        return folder / "x.npz"
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i}.{suffix}")
    rows = [f"{i}.{suffix},{each}" for i, each in enumerate(kinds)]
    (folder / "labels.csv").write_text("\n".join(["file,kind", *rows]) + "\n")
    return folder


@pytest.fixture
def write_faces():
    """Writes images of 4 x 4 pixels, red for `red`, blue for `blue` and black for other kinds, as a folder or an npz."""
    return _write
