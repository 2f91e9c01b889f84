"""What a value of a column means depends on the value and its names alone."""

import itertools

import numpy as np
import pytest

from jaxdiff._console.arguments import value_names
from jaxdiff.data import open_data
from jaxdiff.data.columns import MISSING, label
from jaxdiff.errors import InputError


def read(values, names=None, **options):
    """The value of each element that is kept, by name."""
    given = {} if names is None else {"kind": names}
    found = label(
        {"kind": np.array(values)}, len(values), where="x", **{"attributes": ["kind"], "value_names": given, **options}
    )
    (attribute,) = found.attributes
    return [attribute.values[code] for code in found.labels[:, 0]]


LISTS = [["a", "b", "c"], ["no", "yes"], ["1", "2", "3"], ["0", "1", "2"]]
VALUES = ["0", "1", "2", "3", "-1", "a", "b", "yes", "1.0", "01"]


@pytest.mark.parametrize("names", LISTS)
def test_a_value_means_the_same_whatever_else_the_column_has(names):
    """Every column of one to three of these values reads each as the column of it alone does, or is an error."""

    def alone(value):
        try:
            return read([value], names)[0]
        except InputError:
            return None

    meanings = {value: alone(value) for value in VALUES}
    for count in (1, 2, 3):
        for column in itertools.permutations(VALUES, count):
            try:
                got = read(column, names)
            except InputError:
                continue
            assert got == [meanings[value] for value in column]


def test_a_list_of_names_counts_codes_from_zero_and_others_need_codes():
    assert read([0, 2, 1], ["a", "b", "c"]) == ["a", "c", "b"]
    assert read([1], ["a", "b", "c"]) == ["b"]
    for column in ([1, 2, 3], [3], [-1, 1]):
        with pytest.raises(InputError, match="kind=.*:a,.*:b,.*:c"):
            read(column, ["a", "b", "c"])
    with pytest.raises(InputError, match="do not match"):  # names and codes in one column
        read(["a", "1"], ["a", "b", "c"])
    # 1 could be the first name, or the code of the second
    with pytest.raises(InputError, match="do not match"):
        read([1, 2], ["1", "2", "3"])
    by_code = value_names(["kind=1:a,2:b,3:c"])["kind"]
    assert read([1, 2], by_code) == ["a", "b"] and read([3, 3], by_code) == ["c", "c"]
    with pytest.raises(InputError, match="values 4, which are none of the codes 1, 2, 3"):
        read([1, 4], by_code)
    assert read([-1, 1], {-1: "no", 1: "yes"}) == ["no", "yes"]
    assert read(["m", "f", "w"], {"m": "male", "f": "female", "w": "female"}) == ["male", "female", "female"]


@pytest.mark.parametrize("text", ["0_12", "1_2", "01", "+1", "1.0", " 1", "٣", "1e3", "9" * 5000])
def test_only_integers_as_they_are_usually_written_are_numbers(text):
    values = ["10", "9", text, "-3"]
    assert read(values) == values
    found = label({"kind": np.array(values)}, 4, where="x", attributes=None, value_names={})
    assert found.attributes[0].values == ("-3", "9", "10", text)


@pytest.mark.parametrize("marker", sorted(MISSING))
@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_missing_values_are_missing_in_every_table(tmp_path, marker, kind, write_faces):
    path = write_faces(tmp_path, ["red", marker, "blue", "red"], kind)
    source = open_data(path, split="all", attributes=["kind"])
    assert source.attributes[0].values == ("blue", "red") and len(source) == 3
    for i in range(3):  # the labels are those of the pixels that are left
        assert (source.image(i)[0, 0, 0] > 0) == (source.labels[i, 0] == 1)
    assert any("1 of 4 images have no value of 'kind' and are left out" in note for note in source.notes)
    with pytest.raises(InputError, match="no attribute that every image has.*1 of 4 images"):
        open_data(path, split="all")
    assert len(open_data(path, split="all", attributes=[])) == 4
    # a marker that is named is a value
    if marker:
        named = open_data(path, split="all", value_names={"kind": ["red", "blue", marker]})
        assert named.labels[:, 0].tolist() == [0, 2, 1, 0]


def test_a_column_with_missing_values_is_not_used_unless_it_is_asked_for():
    columns = {"whole": np.array(["a", "b", "a"]), "part": np.array(["1", "nan", "2"])}
    found = label(columns, 3, where="x", attributes=None, value_names={})
    assert [each.name for each in found.attributes] == ["whole"] and found.kept.tolist() == [0, 1, 2]
    assert "'part' is not used: 1 of 3" in found.notes[0]
    found = label(columns, 3, where="x", attributes=["part", "whole"], value_names={})
    assert found.kept.tolist() == [0, 2] and found.labels.tolist() == [[0, 0], [1, 0]]
    with pytest.raises(InputError, match="no value in any of 2 images"):
        read(["", "nan"])


def test_value_names_on_the_command_line():
    assert value_names([]) is None
    assert value_names(["a=x,y", r"b=1:p\, q,2:r\:s"]) == {"a": ("x", "y"), "b": {"1": "p, q", "2": "r:s"}}
    assert value_names([r"a=x\,y,z"]) == {"a": ("x,y", "z")}
    for wrong in ("a", "a=", "a=1:x,y", "a=1:x,1:y", "a=1:x:y"):
        with pytest.raises(InputError, match="--value-names takes"):
            value_names([wrong])
    with pytest.raises(InputError, match="'a' twice"):
        value_names(["a=x,y", "a=z"])
