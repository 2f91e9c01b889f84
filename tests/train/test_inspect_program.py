"""`jaxdiff train inspect` prints how a data set is read and draws some of its images."""

from functools import partial

import numpy as np
from PIL import Image

from tests.data.layouts import encoded, write
from train.__main__ import main


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
        red, green, blue = picture[2 + 130 * (k // 4) + 64, 2 + 130 * (k % 4) + 64].tolist()
        number = 16 * round((red - 20) / 12) + round((green - 20) / 12)
        assert blue == 100 and row[-1] == "ab"[number % 2]


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
