"""Every published layout, in miniature, is read with the labels that the pixels say, in the publisher's splits."""

import pytest

from jaxdiff.data import describe, open_data
from tests.data.layouts import values

pytest.importorskip("pyarrow")
from tests.data.miniatures import MINIATURES


@pytest.mark.parametrize("name", MINIATURES)
def test_labels_are_those_of_the_pixels(tmp_path, name):
    copy = MINIATURES[name]
    path = copy.write(tmp_path)
    parts = {split: open_data(path, split=split, attributes=copy.attributes) for split in ("train", "validation", "test")}
    source = open_data(path, split="all", attributes=copy.attributes)
    assert source.layout == copy.layout
    assert values(source) == copy.labels and len(source) == len(copy.labels)
    assert {split: len(parts[split]) for split in copy.splits} == copy.splits
    # the splits are parts of the whole: labels of each part are those of its pixels too
    found = [values(part) for part in parts.values()]
    assert sum(map(len, found)) == len(copy.labels) and found[0] | found[1] | found[2] == copy.labels
    assert copy.note in describe(source)
