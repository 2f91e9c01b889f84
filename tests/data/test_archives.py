"""Archives within archives and folders behind links are read as what they hold, within bounds."""

import struct
import zipfile

import pytest

from jaxdiff.data import archives, open_data
from jaxdiff.data.files import open_files
from jaxdiff.errors import InputError
from tests.data.layouts import encoded, numbers, values, write, write_tar, write_zip

FACES = {f"faces/{i}.png": encoded(i) for i in range(6)}


def inner(tmp_path, kind):
    """The bytes of an archive of the faces."""
    return {"zip": write_zip, "tar": write_tar}[kind](tmp_path / f"inner.{kind}", FACES).read_bytes()


@pytest.mark.parametrize("outer", ["zip", "compressed zip", "tar"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_in_an_archive_is_read(tmp_path, outer, kind):
    files = {"set/README": "faces", f"set/images.{kind}": inner(tmp_path, kind)}
    if outer == "tar":
        path = write_tar(tmp_path / "set.tar", files)
    else:
        path = write_zip(tmp_path / "set.zip", files, compressed=outer != "zip")
    assert sorted(numbers(open_data(path, split="all"))) == list(range(6))
    # and in a folder
    (tmp_path / "folder").mkdir()
    path.rename(tmp_path / "folder" / path.name)
    assert sorted(numbers(open_data(tmp_path / "folder", split="all"))) == list(range(6))


def test_several_archives_in_an_archive_are_its_splits(tmp_path):
    parts = {
        f"{part}.zip": {f"{'ab'[i % 2]}/{i}.png": encoded(4 * k + i) for i in range(4)}
        for k, part in enumerate(("train", "val", "test"))
    }
    packed = {name: write_zip(tmp_path / "parts" / name, files).read_bytes() for name, files in parts.items()}
    path = write_zip(tmp_path / "set.zip", {f"set/{name}": data for name, data in packed.items()})
    for k, split in enumerate(("train", "validation", "test")):
        source = open_data(path, split=split)
        assert source.layout == "folders" and values(source) == {4 * k + i: ("ab"[i % 2],) for i in range(4)}


def test_archives_in_several_archives_are_no_classes(tmp_path):
    # the training split in parts
    parts = {}
    for part in (1, 2):
        files = {f"{'ab'[i % 2]}/{i}.png": encoded(4 * part + i) for i in range(4)}
        parts[f"part{part}.zip"] = write_zip(tmp_path / "parts" / f"part{part}.zip", files).read_bytes()
    write_zip(tmp_path / "set" / "train.zip", parts)
    write_zip(tmp_path / "set" / "test.zip", {f"{'ab'[i % 2]}/{i}.png": encoded(i) for i in range(4)})
    expected = {i: ("ab"[i % 2],) for i in range(12)}
    assert values(open_data(tmp_path / "set", split="all")) == expected
    assert values(open_data(tmp_path / "set", split="test")) == {i: expected[i] for i in range(4)}


def test_a_file_is_the_section_of_its_archive(tmp_path):
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(200)))
    with archives._section(lambda: path.open("rb"), 50, 100) as file:
        assert file.read(3) == bytes([50, 51, 52])
        assert file.seek(-2, 2) == 98 and file.read() == bytes([148, 149]) and file.read() == b""
        assert file.seek(10) == 10 and file.seek(5, 1) == 15 and file.read(1) == bytes([65])


def test_archives_deeper_than_two_are_not_opened(tmp_path):
    data = write_zip(tmp_path / "0.zip", FACES).read_bytes()
    for depth in (1, 2):
        data = write_zip(tmp_path / f"{depth}.zip", {f"{depth - 1}.zip": data}).read_bytes()
    assert len(open_files(tmp_path / "1.zip").images) == 6
    with pytest.raises(InputError, match="contains no image files, only 2 files such as 0.zip"):
        open_data(tmp_path / "2.zip")


def test_a_compressed_archive_in_an_archive_is_bounded_before_it_is_unpacked(tmp_path, monkeypatch):
    data = inner(tmp_path, "zip")
    path = write_zip(tmp_path / "set.zip", {"images.zip": data}, compressed=True)
    monkeypatch.setattr(archives, "MEMORY", len(data) - 1)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it is unpacked"))
    with pytest.raises(
        InputError, match=rf"images.zip is compressed within .*set.zip, .* {len(data):,} bytes .*; unpack .*set.zip"
    ):
        open_data(path)


def test_damaged_archives_in_archives_are_named(tmp_path):
    data = inner(tmp_path, "zip")
    with pytest.raises(InputError, match=r"set.zip/images.zip is damaged"):
        open_data(write_zip(tmp_path / "set.zip", {"images.zip": data[:-30]}))
    with pytest.raises(InputError, match=r"set.tar/images.tar.gz is a compressed tar"):
        open_data(write_tar(tmp_path / "set.tar", {"images.tar.gz": b""}))
    path = write_zip(tmp_path / "set.zip", {"images.zip": data})
    whole = path.read_bytes()
    # the lengths of the member's name and extra field lie, so that its bytes would begin after the end
    path.write_bytes(whole[:26] + struct.pack("<HH", 60_000, 60_000) + whole[30:])
    with pytest.raises(InputError, match=r"set.zip/images.zip is damaged"):
        open_data(path)


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    write(tmp_path / "elsewhere", {f"{i}.png": encoded(i) for i in range(4)})
    write(tmp_path / "set", {"labels.csv": "file,kind\n" + "".join(f"images/{i}.png,{'ab'[i % 2]}\n" for i in range(4))})
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    assert values(open_data(tmp_path / "set", split="all", links=True)) == {i: ("ab"[i % 2],) for i in range(4)}
    (tmp_path / "elsewhere" / "again").symlink_to(tmp_path / "set")
    (tmp_path / "elsewhere" / "gone").symlink_to(tmp_path / "nowhere")
    assert open_files(tmp_path / "set", links=True).names == [*(f"images/{i}.png" for i in range(4)), "labels.csv"]
