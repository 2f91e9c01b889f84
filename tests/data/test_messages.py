"""Errors of data name the file at fault, by a path that comes first, and options as they are typed."""

import json
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from jaxdiff._console.arguments import named_as_typed
from jaxdiff._console.commands import Command, Program
from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError, LostProcess

IMAGES = np.zeros((4, 4, 4, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    """A folder of four images with labels."""
    (tmp_path / "set").mkdir()
    for i, image in enumerate(IMAGES):
        Image.fromarray(image).save(tmp_path / "set" / f"{i}.png")
    (tmp_path / "set" / "labels.csv").write_text("file,kind\n0.png,a\n1.png,b\n2.png,a\n3.png,b\n")
    return tmp_path / "set"


ARRAYS = {
    "no images": {"labels": [0]},
    "integers": {"images": IMAGES.astype(int)},
    "a range": {"images": IMAGES + 7.0},
    "NaN": {"images": IMAGES + np.nan},
    "a shape": {"images": IMAGES[0, 0]},
    "labels": {"images": IMAGES, "labels": [0.5] * 4},
    "too few labels": {"images": IMAGES, "labels": [0, 1]},
    "names": {"images": IMAGES, "labels": [0, 1, 0, 1], "attributes": ["a", "b"]},
    "repeated names": {"images": IMAGES, "labels": [0, 1, 0, 1], "values_label": ["a", "a"]},
    "codes": {"images": IMAGES, "labels": [1, 2, 1, 2], "values_label": ["a", "b"]},
    "values": {"images": IMAGES, "labels": ["", "", "", ""], "attributes": ["kind"]},
    "a split": {"images": IMAGES, "split": ["train"] * 3},
}


@pytest.mark.parametrize("case", ARRAYS)
def test_the_path_of_an_npz_comes_first(tmp_path, case):
    path = tmp_path / "set.npz"
    np.savez(path, **ARRAYS[case])
    with pytest.raises(InputError) as raised:
        open_data(path, split="all")
    assert str(raised.value).startswith(str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attributes": ["hair"]}, ": unknown attribute 'hair'; it has kind"),
        ({"value_names": {"kind": ["x", "y"]}}, ": attribute 'kind' has the values a, b, which the names x, y do not match"),
        ({"value_names": {"kind": {"a": "x"}}}, ": attribute 'kind' has the values b, which are none of the codes a"),
        ({"value_names": {"kind": ["a", "a"]}}, ": attribute 'kind' takes distinct names of its values, got a, a"),
    ],
)
def test_the_path_of_a_folder_comes_first(folder, options, message):
    with pytest.raises(InputError) as raised:
        open_data(folder, split="all", **options)
    assert str(raised.value).startswith(f"{folder}{message}")


@pytest.mark.parametrize(("content", "why"), [(b"", "it is empty"), (b"words", "its content is of no known kind")])
def test_an_image_that_is_none_is_named_by_its_file(folder, content, why):
    (folder / "2.png").write_bytes(content)
    with pytest.raises(InputError) as raised:
        load_arrays(open_data(folder, split="all"))
    assert str(raised.value) == f"{folder}/2.png cannot be decoded as an image: {why}"


def test_the_file_of_names_and_the_table_are_named(folder):
    (folder / "attributes.json").write_text(json.dumps({"kind": "a"}))
    with pytest.raises(InputError, match=f"^{folder}/attributes.json must be like"):
        open_data(folder)
    (folder / "labels.csv").write_text("file,kind\n0.png,a\n9.png,b\n")
    with pytest.raises(InputError, match=f"^row 3 of {folder}/labels.csv has '9.png'"):
        open_data(folder)


@dataclass(frozen=True)
class Typed:
    """Options."""

    train_count: int = 1
    range: int = 1


@pytest.mark.parametrize("kind", [InputError, LostProcess])
def test_options_are_named_as_they_are_typed(kind, monkeypatch):
    """By every command of every program, whatever part of the library refuses them."""

    def work(options):
        raise kind("`train_count` must be at most `range`, `other` too")

    monkeypatch.setattr("tests.data.test_messages.WORK", work, raising=False)
    program = Program("x", __package__, "", {"do": Command("", "test_messages:Typed", "test_messages:WORK")})
    monkeypatch.setattr(sys, "argv", ["x", "do"])
    with pytest.raises(kind, match="^--train-count must be at most --range, `other` too$"):
        program.main()
    with pytest.raises(ZeroDivisionError), named_as_typed(Typed()):
        _ = 1 / 0
