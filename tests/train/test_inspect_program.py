"""`jaxdiff train inspect` prints how a data set is read and draws some of its images."""

from functools import partial

import numpy as np
import pytest
from PIL import Image

from tests.data.layouts import encoded, write
from train.__main__ import main

pytest.importorskip("pyarrow")
from tests.data.miniatures import MINIATURES


def shown(picture, place):
    """The number of the image in a place of the picture, from its colour."""
    red, green, blue = picture[2 + 130 * (place // 4) + 64, 2 + 130 * (place % 4) + 64].tolist()
    assert abs(blue - 100) < 5
    return 16 * round((red - 20) / 12) + round((green - 20) / 12)


@pytest.mark.parametrize("name", MINIATURES)
def test_each_layout_is_drawn_with_the_values_that_are_printed(call_program, tmp_path, capsys, name):
    copy = MINIATURES[name]
    path = copy.write(tmp_path)
    assert call_program(main, "train", "inspect", str(path), "--attributes", *copy.attributes) == 0
    out = capsys.readouterr().out
    assert f"{len(copy.labels)} images" in out and f"read as {copy.layout}" in out
    picture = np.array(Image.open(tmp_path / "inspect.png"))
    rows = [line.partition(": ")[2] for line in out.splitlines() if "  image " in line]
    assert len(rows) == 12 and picture.shape == (3 * 130 + 2, 4 * 130 + 2, 3)
    for place, row in enumerate(rows):
        pairs = zip(copy.attributes, copy.labels[shown(picture, place)], strict=True)
        assert row == ", ".join(f"{attribute} {value}" for attribute, value in pairs)


def test_a_data_set_is_described_and_drawn(call_program, tmp_path, capsys):
    write(tmp_path / "faces", {f"{'ab'[i % 2]}/{i:02d}.png": encoded(i, size=(8, 8 + i)) for i in range(20)})
    call = partial(call_program, main, "train")
    assert call("inspect", "faces") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("faces (split 'all')") and "20 images" in lines[0] and "label: a 10, b 10" in lines[0]
    rows = [line.split() for line in lines if line.lstrip()[:1].isdigit() and ": label" in line]
    assert len(rows) == 12
    picture = np.array(Image.open(tmp_path / "inspect.png"))
    assert picture.shape == (3 * 130 + 2, 4 * 130 + 2, 3)
    for k, row in enumerate(rows):
        assert row[-1] == "ab"[shown(picture, k) % 2]


def test_fewer_images_and_wrong_names_of_pictures(call_program, tmp_path, capsys):
    write(tmp_path / "faces", {f"{i}.png": encoded(i) for i in range(3)})
    call = partial(call_program, main, "train")
    assert call("inspect", "faces", "--size", "8", "--out", "new/three.png") == 0
    out = capsys.readouterr().out
    assert "there are no labels" in out and "3 images in new/three.png" in out and out.count("no labels") == 4
    assert call("inspect", "faces", "--out", "three.jpg") != 0
    assert "--out must be a .png file" in "".join(capsys.readouterr())
    assert call("inspect", "nowhere") != 0
    assert "no data at 'nowhere'" in "".join(capsys.readouterr())
