"""Unsafe images: all of a folder without splits, with or without labels, with the number of those that are used."""

import numpy as np
import pytest
from PIL import Image

from jaxdiff._console.unsafe import encoded
from jaxdiff.spaces import Pixels
from sample.command_line import made
from sample.draw import draw
from sample.options import Draw

pytestmark = pytest.mark.usefixtures("own_cache")
COUNT, SPACE = 30, Pixels(4, 4)


@pytest.fixture
def folder(tmp_path):
    """Images of the level of their number."""
    (tmp_path / "unsafe").mkdir()
    for i in range(COUNT):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / "unsafe" / f"{i:02}.png")
    return tmp_path / "unsafe"


def table(folder, column, values):
    rows = [f"{i:02}.png,{value}" for i, value in enumerate(values)]
    (folder / "labels.csv").write_text("\n".join([f"file,{column}", *rows]) + "\n")


def numbers(folder, capsys, selection="", **options):
    """The numbers of the images, and the line that is printed of them."""
    images = encoded(f"{folder}{selection}", options.pop("split", None), SPACE, None, (), **options)
    levels = np.rint((np.asarray(images)[:, 0, 0, 0] + 1) * 127.5).astype(int)
    return sorted(levels), capsys.readouterr().out


def test_a_folder_without_splits_is_used_whole(folder, capsys):
    used, line = numbers(folder, capsys)
    assert used == list(range(COUNT)) and "30 images" in line and " of 30" not in line
    table(folder, "kind", ["a"] * COUNT)
    used, line = numbers(folder, capsys)
    assert used == list(range(COUNT)) and "30 images" in line and " of 30" not in line
    # a split that is asked for is taken, and its share said
    used, line = numbers(folder, capsys, split="train")
    assert len(used) < COUNT and f"{len(used)} of 30 images" in line


def test_of_a_folder_with_splits_train_is_used_and_the_share_is_said(folder, capsys):
    table(folder, "split", ["train", "test", "train"] * 10)
    used, line = numbers(folder, capsys)
    assert used == [i for i in range(COUNT) if i % 3 != 1] and "20 of 30 images" in line


def test_missing_labels_do_not_matter_unless_they_select(folder, capsys):
    table(folder, "kind", ["nan" if i < 4 else "ab"[i % 2] for i in range(COUNT)])
    used, line = numbers(folder, capsys)
    assert used == list(range(COUNT)) and "left out" not in line
    used, line = numbers(folder, capsys, ":kind=b")
    assert used == [i for i in range(4, COUNT) if i % 2] and "4 of 30 images have no value of 'kind' and are left out" in line
    assert "13 of 26 images" in line


def test_changed_images_behind_a_link_are_read_anew(folder, tmp_path, capsys):
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "faces").symlink_to(folder)
    assert numbers(tmp_path / "linked", capsys, links=True)[0] == list(range(COUNT))
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(folder / "00.png")
    assert numbers(tmp_path / "linked", capsys, links=True)[0] == [*range(1, COUNT), 200]


def test_repeated_images_are_counted(folder, save_model, tmp_path, capsys):
    for i in range(2, COUNT):
        (folder / f"{i:02}.png").write_bytes((folder / f"{i % 2:02}.png").read_bytes())
    given = {"model": save_model(tmp_path / "model", size=8), "count": 1, "steps": 4, "solver": "ddim", "guard": "repellency"}
    draw(made(Draw, out=tmp_path / "set", unsafe=str(folder), **given))
    assert "guard repellency: 30 unsafe images (2 distinct) from" in " ".join(capsys.readouterr().out.split())
