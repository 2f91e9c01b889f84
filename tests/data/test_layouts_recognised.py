"""Each layout is recognised by exactly the reader that is meant for it, by names and small tables alone."""

import io
import json
import tarfile

import numpy as np
import pytest

from jaxdiff.data import open_data
from jaxdiff.data.files import Files, open_files
from jaxdiff.data.readers import READER_MODULES, READERS, Request
from jaxdiff.errors import InputError
from tests.data.layouts import encoded, fair_face_table, numbers, values, write, write_tar, write_zip

pa = pytest.importorskip("pyarrow")
from tests.data.miniatures import parquet  # noqa: E402

PNG = {f"{i}.png": encoded(i) for i in range(4)}
COPIES = {
    "table": PNG | {"labels.csv": "file,gender\n0.png,a\n"},
    "celeba": {"list_attr_celeba.csv": "", "img_align_celeba/img_align_celeba/000001.jpg": encoded(0, "JPEG")},
    "fairface": {"fairface_label_train.csv": fair_face_table([]), "train/1.jpg": encoded(0), "val/1.jpg": encoded(1)},
    "stylegan": {f"{i:05d}/img{i:08d}.png": encoded(i) for i in range(3)} | {"dataset.json": '{"labels": null}'},
    "imagefolder": {f"train/{name}": data for name, data in PNG.items()} | {"train/metadata.jsonl": "{}"},
    "parquet": {
        "README.md": "",
        "data/train-00000-of-00001.parquet": parquet(pa.table({"image": [encoded(0)], "label": ["a"]})),
    },
    "webdataset": {"000000.jpg": encoded(0, "JPEG"), "000000.json": "{}", "000000.txt": "a face"},
    "utkface": {f"part{i}/2{i}_{i % 2}_3_20170116174525125.jpg.chip.jpg": encoded(i) for i in (1, 2, 3)},
    "folders": {f"{name}/{i}.png": encoded(i) for i, name in enumerate("abab")},
    "images": PNG,
}
GUESSES = ("folders", "images")


def recognising(path):
    request = Request(str(path))
    return [reader.name for reader in READERS if reader.recognises(request)]


@pytest.mark.parametrize("layout", COPIES)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_copy_is_recognised_by_exactly_the_reader_that_is_meant(tmp_path, layout, zipped):
    path = write_zip(tmp_path / "data.zip", COPIES[layout]) if zipped else write(tmp_path / "data", COPIES[layout])
    found = recognising(path)
    assert found[0] == layout
    # class folders and images alone are guesses from folders, for what no other reader takes
    assert [name for name in found if name not in GUESSES] == ([] if layout in GUESSES else [layout])


def test_other_kinds_are_recognised_by_exactly_one_reader(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((1, 4, 4, 3), np.uint8))
    write(
        tmp_path,
        {"one.parquet": parquet(pa.table({"image": [encoded(0)], "label": ["a"]})), "set/samples.json": json.dumps({})},
    )
    write_tar(tmp_path / "faces-000000.tar", COPIES["webdataset"])
    assert recognising(tmp_path / "a.npz") == ["npz"]
    assert recognising(tmp_path / "one.parquet") == ["parquet"]
    assert recognising(tmp_path / "faces-000000.tar") == ["webdataset", "images"]
    assert recognising("embedded?seed=1") == ["embedded"]
    assert recognising("tfds:mnist") == ["tfds"]
    assert recognising(tmp_path / "nowhere") == []


def test_recognising_reads_no_image(tmp_path, monkeypatch):
    for layout, files in COPIES.items():
        write(tmp_path / layout, files)
    monkeypatch.setattr(Files, "read", lambda *_: pytest.fail("a file is read"))
    for layout in COPIES:
        assert recognising(tmp_path / layout)[0] == layout


def test_a_layout_that_is_named_comes_first(tmp_path):
    path = write(tmp_path / "data", COPIES["utkface"])
    source = open_data(path, split="all", layout="folders")
    assert values(source) == {1: ("part1",), 2: ("part2",), 3: ("part3",)}
    assert open_data(path, split="all", layout="images").attributes == ()
    with pytest.raises(InputError, match="is not of the layout 'celeba'"):
        open_data(path, layout="celeba")


def test_layouts_have_the_names_of_the_registry():
    assert [reader.name for reader in READERS] == list(READER_MODULES)
    assert [reader.name for reader in READERS if reader.fallback] == [reader.name for reader in READERS[-2:]] == list(GUESSES)


def test_of_two_layouts_the_one_that_is_read_is_said(tmp_path):
    table = "file,gender\n" + "".join(f"{i}.png,{'ab'[i % 2]}\n" for i in range(4))
    metadata = "file_name,gender\n" + "".join(f"{i}.png,{'ba'[i % 2]}\n" for i in range(4))
    write(tmp_path, PNG | {"labels.csv": table, "metadata.csv": metadata})
    source = open_data(tmp_path, split="all")
    assert values(source) == {i: ("ab"[i % 2],) for i in range(4)}
    assert source.notes[0].startswith("read as table, though it is also images with metadata.csv, .jsonl or .parquet")
    other = open_data(tmp_path, split="all", layout="imagefolder")
    assert values(other) == {i: ("ba"[i % 2],) for i in range(4)} and not other.notes
    (tmp_path / "metadata.csv").unlink()
    assert not open_data(tmp_path, split="all").notes


def test_what_is_no_data_set_is_named(tmp_path):
    write(tmp_path, {"set.7z": b"", "hub/state.json": "{}", "hub/data-00000-of-00001.arrow": b""})
    write_zip(tmp_path / "hub.zip", {f"data/{name}": data for name, data in COPIES["parquet"].items()})
    for name, message in {
        "nowhere": r"no data at .*nowhere', which does not exist; expected 'embedded'",
        "set.7z": r"no data at .*set.7z', which is a file of no kind that is read; expected 'embedded'",
        "hub": r"contains no image files, only 2 files such as data-00000-of-00001.arrow, no labels.csv",
        "hub.zip": r"hub.zip/data/train-00000-of-00001.parquet is a parquet file in an archive, .*; unpack it",
    }.items():
        with pytest.raises(InputError, match=message):
            open_data(tmp_path / name)


def test_several_archives_of_a_folder_are_read_and_are_no_classes(tmp_path):
    for part in (1, 2, 3):
        write_zip(tmp_path / "set" / f"part{part}.zip", {f"part{part}/{i}.png": encoded(4 * part + i) for i in range(4)})
    source = open_data(tmp_path / "set", split="all")
    assert source.layout == "images" and sorted(numbers(source)) == list(range(4, 16))
    for k, part in enumerate(("train", "val", "test")):
        write_zip(tmp_path / "split" / f"{part}.zip", {f"{'ab'[i % 2]}/{i}.png": encoded(4 * k + i) for i in range(4)})
    for k, part in enumerate(("train", "validation", "test")):
        source = open_data(tmp_path / "split", split=part)
        assert source.layout == "folders" and values(source) == {4 * k + i: ("ab"[i % 2],) for i in range(4)}


def test_images_beside_an_archive_come_first_and_hidden_files_do_not_count(tmp_path):
    write(tmp_path, {"a/0.png": encoded(0), ".cache/1.png": encoded(1), "a/._0.png": b"", "__MACOSX/a/2.png": b""})
    write_zip(tmp_path / "old.zip", {"3.png": encoded(3)})
    assert numbers(open_data(tmp_path, split="all")) == [0]


def test_tars_are_read_at_their_offsets_and_damage_is_an_error(tmp_path):
    path = write_tar(tmp_path / "a.tar", {f"./data/{i}.png": encoded(i) for i in range(5)})
    assert sorted(numbers(open_data(path, split="all"))) == list(range(5))
    whole = path.read_bytes()
    assert whole[1024:1536].strip(b"\0"), "the second header"
    for length in (512 + 30, 1024, 1024 + 200, 4 * 1024 + 600, 5 * 1024):  # within data, before and within headers, at the end
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="a.tar is damaged"):
            open_data(path, split="all")
    path.write_bytes(b"no tar" * 200)
    with pytest.raises(InputError, match="is damaged"):
        open_data(path)
    compressed = write_tar(tmp_path / "b.tar.gz", {"0.png": encoded(0)}, mode="w:gz")
    with pytest.raises(InputError, match="compressed tar, .* unpack it: tar -xf b.tar.gz"):
        open_data(compressed)


def test_links_in_tars_are_not_followed(tmp_path):
    (tmp_path / "secret.png").write_bytes(encoded(7))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        link = tarfile.TarInfo("link.png")
        link.type, link.linkname = tarfile.SYMTYPE, str(tmp_path / "secret.png")
        archive.addfile(link)
        member = tarfile.TarInfo("./0.png")
        member.size = len(encoded(0))
        archive.addfile(member, io.BytesIO(encoded(0)))
    assert len(open_files(tmp_path / "a.tar").names) == 1
    assert numbers(open_data(tmp_path / "a.tar", split="all")) == [0]
