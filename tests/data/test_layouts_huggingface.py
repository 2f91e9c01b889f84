"""Imagefolders and parquet shards of Hugging Face are read with the labels that the pixels say."""

import json
import subprocess
import sys

import numpy as np
import pytest

from jaxdiff.data import load_arrays, open_data
from jaxdiff.errors import InputError
from tests.data.layouts import encoded, numbers, values, write, write_zip

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402

from tests.data.miniatures import parquet  # noqa: E402


def metadata(kind, names, gender, level):
    """The table of an imagefolder: a text and an integer for each image."""
    if kind == "csv":
        return "file_name,gender,level\n" + "".join(f"{n},{g},{v}\n" for n, g, v in zip(names, gender, level, strict=True))
    if kind == "jsonl":
        rows = [{"file_name": n, "gender": g, "level": v} for n, g, v in zip(names, gender, level, strict=True)]
        return "".join(json.dumps(row) + "\n" for row in rows)
    return parquet(pa.table({"file_name": names, "gender": gender, "level": level}))


GENDERS = [("male", "female")[i % 2] for i in range(24)]
LEVELS = [i % 3 for i in range(24)]
EXPECTED = {i: (GENDERS[i], str(LEVELS[i])) for i in range(24)}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("zipped", [False, True])
def test_imagefolders_have_the_labels_of_their_metadata(tmp_path, kind, zipped):
    names = [f"images/{i:04d}.png" for i in range(24)]
    files = {name: encoded(i) for i, name in enumerate(names)} | {f"metadata.{kind}": metadata(kind, names, GENDERS, LEVELS)}
    path = write_zip(tmp_path / "data.zip", files) if zipped else write(tmp_path, files)
    source = open_data(path, split="all")
    assert source.layout == "imagefolder"
    assert [attribute.name for attribute in source.attributes] == ["gender", "level"]
    assert values(source) == EXPECTED


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_each_split_of_an_imagefolder_may_have_its_own_metadata(tmp_path, kind):
    parts = {"train": range(12), "validation": range(12, 18), "test": range(18, 24)}
    for part, indices in parts.items():
        names = [f"{i}.png" for i in range(len(indices))]  # relative to the table; the same in all splits
        own = {name: encoded(i) for name, i in zip(names, indices, strict=True)}
        own[f"metadata.{kind}"] = metadata(kind, names, [GENDERS[i] for i in indices], [LEVELS[i] for i in indices])
        write(tmp_path / part, own)
    for part, indices in parts.items():
        assert values(open_data(tmp_path, split=part)) == {i: EXPECTED[i] for i in indices}


def test_wrong_metadata_are_errors_and_unnamed_images_are_counted(tmp_path):
    write(tmp_path, {f"{i}.png": encoded(i) for i in range(4)})
    write(tmp_path, {"metadata.csv": "file_name,gender\n0.png,a\n1.png,b\n2.png,a\n"})
    source = open_data(tmp_path, split="all")
    assert values(source) == {0: ("a",), 1: ("b",), 2: ("a",)}
    assert "1 of 4 images are in no metadata and are left out" in source.notes
    for text, message in {
        "file_name,gender\n0.png,a\n9.png,b\n": "names '9.png', which does not exist",
        "file_name,gender\n0.png,a\n0.png,b\n": "names 0.png, which was named before",
        "name,gender\n0.png,a\n": "has no column 'file_name'; it has name, gender",
        "file_name,gender\n0.png\n": "row 2 of .*metadata.csv has 1 fields; expected 2",
        "file_name,gender\n": "metadata.csv has no rows below the header",
    }.items():
        write(tmp_path, {"metadata.csv": text})
        with pytest.raises(InputError, match=message):
            open_data(tmp_path)
    (tmp_path / "metadata.csv").unlink()
    write(tmp_path, {"metadata.jsonl": "\n"})
    with pytest.raises(InputError, match=r"has no column 'file_name'; it has none"):
        open_data(tmp_path)
    write(tmp_path, {"metadata.jsonl": '{"file_name": "0.png", "gender": "a"}\n{"file_name": '})
    with pytest.raises(InputError, match=r"line 2 of .*metadata.jsonl is damaged: Expecting value"):
        open_data(tmp_path)


def class_metadata(names, column="label"):
    """What `datasets` writes into a file's metadata of a column of classes."""
    info = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": info}})}


def shard(indices, *, embedded=True, features=True, group=None):
    """Rows as `datasets` writes them: images as bytes and path, and a class by its number with its names in the metadata."""
    images = [{"bytes": encoded(i) if embedded else None, "path": f"{i}.png"} for i in indices]
    label = [i % 3 if i % 7 else -1 for i in indices]
    table = pa.table({
        "image": pa.array(images, pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        "label": pa.array(label, pa.int64()),
        "smiling": pa.array([i % 2 == 0 for i in indices]),
        "box": pa.array([[0.5, 1.5]] * len(images)),
    })  # fmt: skip
    if features:
        table = table.replace_schema_metadata(class_metadata(["zebra", "1", "ant"]))
    return parquet(table, row_group_size=group or len(images))


def test_parquet_shards_have_their_class_names_and_splits(tmp_path):
    parts = {"train": range(1, 13), "validation": range(15, 20), "test": range(22, 27)}
    write(tmp_path, {
        "README.md": "a data set",
        "data/train-00000-of-00002.parquet": shard(parts["train"][:7], group=2),
        "data/train-00001-of-00002.parquet": shard(parts["train"][7:], group=3),
        "data/validation-00000-of-00001.parquet": shard(parts["validation"]),
        "data/test-00000-of-00001.parquet": shard(parts["test"]),
    })  # fmt: skip
    for part, indices in parts.items():
        source = open_data(tmp_path, split=part, attributes=["label", "smiling"])
        assert source.layout == "parquet"
        assert source.attributes[0].values == ("zebra", "1", "ant")
        # -1 is no class
        names = ("zebra", "1", "ant")
        assert values(source) == {i: (names[i % 3], str(int(i % 2 == 0))) for i in indices if i % 7}
        assert any("box" in note for note in source.notes)


def test_damaged_pages_of_parquet_files_are_errors(tmp_path):
    # the metadata are at the end of a file, its pages before them
    for name, content in (
        ("shards/train-0.parquet", shard(range(1, 40))),
        ("folder/metadata.parquet", metadata("parquet", [f"{i}.png" for i in range(40)], ["male"] * 40, list(range(40)))),
    ):
        write(tmp_path, {name: content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :]})
    write(tmp_path / "folder", {f"{i}.png": encoded(i) for i in range(40)})
    for folder in ("shards", "folder"):
        with pytest.raises(InputError, match=r"\.parquet (is damaged|cannot be read): "):
            load_arrays(open_data(tmp_path / folder, split="all"))


@pytest.mark.parametrize("layout", ["parquet", "imagefolder"])
def test_files_that_number_their_classes_differently_are_read_by_the_names(tmp_path, layout):
    # as two parts that were encoded on their own
    animals = {"train": ["cat", "dog", "cat"], "test": ["cat", "ant", "ant"]}
    expected = {}
    for k, (part, texts) in enumerate(animals.items()):
        names, first = sorted(set(texts)), 3 * k
        label = [names.index(each) for each in texts]
        expected |= {first + i: (text,) for i, text in enumerate(texts)}
        images = [encoded(first + i) for i in range(3)]
        if layout == "parquet":
            table = pa.table({"image": images, "label": label})
            write(tmp_path, {f"{part}-0.parquet": parquet(table.replace_schema_metadata(class_metadata(names)))})
        else:
            table = pa.table({"file_name": [f"{i}.png" for i in range(3)], "label": label})
            files = {f"{i}.png": data for i, data in enumerate(images)}
            files["metadata.parquet"] = parquet(table.replace_schema_metadata(class_metadata(names)))
            write(tmp_path / part, files)
    source = open_data(tmp_path, split="all")
    assert source.layout == layout and values(source) == expected
    assert sorted(source.attributes[0].values) == ["ant", "cat", "dog"]


def test_one_parquet_file_without_hugging_faces_metadata_is_read(tmp_path):
    path = write(tmp_path, {"faces.parquet": shard([1, 2, 3, 4], features=False)}) / "faces.parquet"
    assert values(open_data(path, split="all", attributes=["label"])) == {i: (str(i % 3),) for i in range(1, 5)}
    write(tmp_path, {"bytes.parquet": parquet(pa.table({"jpg": [encoded(i) for i in range(5)], "a": list("xyxyx")}))})
    assert values(open_data(tmp_path / "bytes.parquet", split="all")) == {i: ("xyxyx"[i],) for i in range(5)}


def test_little_memory_reads_the_same_images(tmp_path, monkeypatch):
    path = write(tmp_path, {"faces.parquet": shard(range(1, 25), group=5)}) / "faces.parquet"
    monkeypatch.setattr("jaxdiff.data.readers.parquet.MEMORY", 1)
    source = open_data(path, split="all", attributes=["smiling"])
    order = np.random.default_rng(0).permutation(24)
    assert [int(round((image[0, 0, 1] - 20) / 12 + 16 * (image[0, 0, 0] - 20) / 12)) for image in source.gather(order)] == [
        i + 1 for i in order
    ]


def test_parquet_files_that_hold_no_images_are_errors(tmp_path):
    def opens(content):
        return open_data(write(tmp_path, {"faces.parquet": content}) / "faces.parquet", split="all")

    with pytest.raises(InputError, match=r"image faces.parquet/0 .* is only a path, '1.png'"):
        opens(shard([1, 2], embedded=False))
    with pytest.raises(InputError, match=r"no column of embedded images, only image \(string\), label"):
        opens(parquet(pa.table({"image": ["a.png"], "label": [1]})))
    with pytest.raises(InputError, match=r"several columns of images, a, b"):
        opens(parquet(pa.table({"a": [encoded(0)], "b": [encoded(1)]})))
    with pytest.raises(InputError, match=r"faces.parquet has no rows"):
        opens(shard([1])[:0] or parquet(pq.read_table(pa.BufferReader(shard([1]))).slice(0, 0)))
    with pytest.raises(InputError, match=r"faces.parquet is damaged: .* not a parquet file"):
        opens(shard([1])[:-20])
    write(tmp_path, {"other.parquet": parquet(pa.table({"image": [encoded(0)]})), "faces.parquet": shard([1])})
    with pytest.raises(InputError, match=r"other.parquet has other columns than faces.parquet"):
        open_data(tmp_path)


def test_without_pyarrow_an_error_names_its_installation_and_the_rest_works(tmp_path):
    write(tmp_path, {"faces.parquet": shard([1, 2]), "folder/0.png": encoded(0)})
    code = f"""
import sys
sys.modules["pyarrow"] = None
from jaxdiff.data import open_data
print(len(open_data({str(tmp_path / "folder")!r}, split="all")))
try:
    open_data({str(tmp_path / "faces.parquet")!r})
except ValueError as error:
    print(error)
"""
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0] == "1" and lines[1].endswith("is a parquet file, which needs pyarrow: pip install pyarrow")


def test_numbers_are_decoded():
    # the other tests rest on it
    from jaxdiff.data import ArraySource

    images = np.stack([np.full((4, 4, 3), (20 + 12 * (i // 16), 20 + 12 * (i % 16), 100), np.uint8) for i in range(256)])
    assert numbers(ArraySource(images, np.zeros((256, 0), np.int32), ())) == list(range(256))
