"""Selections by values with any characters."""

import itertools

import numpy as np
import pytest

from jaxdiff.data import open_data
from jaxdiff.data.spec import chosen_values, parse_selection, split_spec
from jaxdiff.errors import InputError
from tests.data.layouts import encoded, values, write

VALUES = ["Asian/Pacific", "Black, African", "mixed: other", "50+", "a=b", "a&b?", "(x)", "Black", "ü"]


@pytest.fixture
def races(tmp_path):
    """An npz of images whose level is the position of their value."""
    levels = np.arange(len(VALUES), dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None, None], (len(VALUES), 2, 2, 3))
    labels = np.stack([VALUES, ["odd" if i % 2 else "even" for i in levels]], 1)
    np.savez(tmp_path / "f:g=h.npz", images=images, labels=labels, attributes=["race", "parity"])
    return tmp_path / "f:g=h.npz"


def chosen(spec):
    return [int(open_data(spec, split="all").image(i).max()) for i in range(len(open_data(spec, split="all")))]


@pytest.mark.parametrize("value", VALUES)
def test_every_value_can_be_selected_as_it_is_written(races, value):
    assert chosen(f"{races}:race={value}") == [VALUES.index(value)]


def test_several_values_and_several_attributes(races):
    for one, other in itertools.combinations(VALUES, 2):
        assert chosen(f"{races}:race={one},{other}") == sorted([VALUES.index(one), VALUES.index(other)])
    for i, value in enumerate(VALUES):
        parity = "odd" if i % 2 else "even"
        assert chosen(f"{races}:race={value}+parity={parity}") == [i]
        assert chosen(f"{races}:parity={parity}+race={value}") == [i]


def test_a_backslash_decides_what_could_be_read_in_two_ways():
    known = ("a", "b", "a,b", "c+d=e", "f:g=h")
    assert chosen_values("a,b", known, "x") == ("a", "b")
    assert chosen_values(r"a\,b", known, "x") == ("a,b",)
    assert chosen_values(r"a\,b,a", known, "x") == ("a,b", "a")
    assert parse_selection(r"x=c\+d=e+y=1") == {"x": r"c\+d=e", "y": "1"}
    assert chosen_values(r"c\+d=e", known, "x") == ("c+d=e",)
    assert split_spec(r"tfds:name:x=f\:g=h") == ("tfds:name", {"x": r"f\:g=h"})
    with pytest.raises(InputError, match="no value 'z'; it takes one of a, b"):
        chosen_values("a,z", known, "x")
    with pytest.raises(InputError, match="'x' twice"):
        parse_selection("x=a+x=b")


def test_images_without_a_value_of_the_selecting_attribute_are_left_out(tmp_path):
    write(tmp_path, {f"{i}.png": encoded(i) for i in range(6)})
    rows = [f"{i}.png,{gender},h\n" for i, gender in enumerate(["a", "b", "", "a", "b", ""])]
    write(tmp_path, {"labels.csv": "".join(["file,gender,hair\n", *rows])})
    source = open_data(f"{tmp_path}:gender=a", split="all")
    assert values(source) == {0: ("h", "a"), 3: ("h", "a")}
    assert source.notes == ("2 of 6 images have no value of 'gender' and are left out",)


def test_what_is_no_selection():
    for spec in ("embedded", "tfds:celeb_a", "tfds:x?manual_dir=/a/b&data_dir=/c", "folder/f.npz", "embedded?hair=0.5,0.5"):
        assert split_spec(spec) == (spec, {})
    assert split_spec("embedded?hair=0.5,0.5:glasses=yes") == ("embedded?hair=0.5,0.5", {"glasses": "yes"})
    assert split_spec("tfds:x?manual_dir=/a:male=yes+young=no") == ("tfds:x?manual_dir=/a", {"male": "yes", "young": "no"})
