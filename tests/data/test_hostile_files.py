"""Data that lie about their size, lead elsewhere or are no files: refused by name before memory or time is spent."""

import io
import json
import os
import socket
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from jaxdiff import boundary
from jaxdiff.data import archives, images, load_arrays, open_data
from jaxdiff.data.files import digest, open_files
from jaxdiff.errors import InputError
from jaxdiff.npz_file import load_npz
from jaxdiff.quality.reference_file import load_reference
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.data.layouts import encoded, numbers, pixels, write, write_tar, write_zip

FACES = {f"{i}.png": encoded(i) for i in range(3)}


def npy(shape, descr="|u1", data=b""):
    """An array in the format npy, with any header."""
    header = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


# ---- sizes


@pytest.mark.parametrize("shape", [(10**7, 1000, 1000, 3), (10**20,), (4, 4, 4, 4), (2, 3, 3, 3), (-1, -54), (0, 10**20)])
@pytest.mark.parametrize("compressed", [False, True])
def test_an_array_is_as_large_as_its_file(tmp_path, monkeypatch, shape, compressed):
    monkeypatch.setattr(np.lib.format, "read_array", _read_array_of_at_most(54))
    path = write_zip(tmp_path / "a.npz", {"images.npy": npy(shape, data=bytes(53))}, compressed=compressed)
    for read in (load_npz, load_reference, lambda path: open_data(path, split="all")):
        with pytest.raises(InputError, match="a.npz"):
            read(path)


def _read_array_of_at_most(size):
    real = np.lib.format.read_array

    def read_array(file, **options):
        found = real(file, **options)
        assert found.nbytes <= size
        return found

    return read_array


def test_an_array_of_the_right_size_is_read(tmp_path):
    data = np.arange(54, dtype=np.uint8)
    path = write_zip(tmp_path / "a.npz", {"images.npy": npy((2, 3, 3, 3), data=data.tobytes())}, compressed=True)
    np.testing.assert_array_equal(load_npz(path)["images"], data.reshape(2, 3, 3, 3))


def test_files_are_compressed_as_much_as_data_are(tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "SMALL", 10_000)
    monkeypatch.setattr(zipfile.ZipFile, "read", lambda *_: pytest.fail("it is unpacked"))
    zeros = bytes(100_000)
    path = write_zip(tmp_path / "set.zip", {"labels.csv": zeros, **FACES}, compressed=True)
    with pytest.raises(InputError, match=r"labels.csv would unpack from .* to 100,000 bytes, .*; unpack it"):
        open_data(path)
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((10, 100, 100), np.uint8))
    with pytest.raises(InputError, match=r"array 'images' of .*a.npz would unpack"):
        load_npz(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", images=np.zeros((10, 100, 100), np.uint8))
    assert load_npz(tmp_path / "a.npz")["images"].nbytes == 100_000


def test_a_member_cannot_claim_packed_bytes_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.setattr(boundary, "SMALL", 10_000)
    path = write_zip(tmp_path / "set.zip", {"9.png": bytes(10**6), **FACES}, compressed=True)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 24] = struct.pack("<I", 10**6)
    path.write_bytes(content)
    with pytest.raises(InputError, match="set.zip/9.png would unpack from .* to 1,000,000 bytes"):
        load_arrays(open_data(path, split="all"))


def test_files_of_a_folder_are_bounded(tmp_path):
    write(tmp_path / "set", FACES)
    with open(tmp_path / "set" / "1.png", "wb") as opened:
        opened.truncate(boundary.MOST_BYTES + 1)
    with pytest.raises(InputError, match="1.png has 2,147,483,649 bytes"):
        load_arrays(open_data(tmp_path / "set", split="all"))


def test_an_image_says_how_large_it_is_before_it_is_decoded(tmp_path, monkeypatch):
    header = struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (tmp_path / "large.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + encoded(0)[33:])
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("it is decoded"))
    with pytest.raises(InputError, match="large.png .*: it has 9000 x 9000 pixels, more than 67,108,864"):
        images.decode((tmp_path / "large.png").read_bytes(), "large.png")


def test_rows_of_a_parquet_file_are_bounded_by_its_size(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    # a million times the same value take a few hundred bytes
    table = pa.table({"image": pa.array([encoded(0)] * 10**5, pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10**5)
    with pytest.raises(InputError, match=r"a.parquet is damaged: it has [\d,]+ bytes and says that it has 100,000 rows"):
        open_data(tmp_path / "a.parquet", split="all")


def test_members_and_depth_are_bounded(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "set.zip", FACES)
    tar = write_tar(tmp_path / "set.tar", FACES)
    monkeypatch.setattr(archives, "MEMBERS", 2)
    for each in (path, tar):
        with pytest.raises(InputError, match=f"{each.name} has more than 2 files"):
            open_data(each)
    deep = json.dumps({"kind": 0}).replace("0", "[" * 200 + "]" * 200)
    files = {"labels.csv": "file,kind\n0.png,a\n", "attributes.json": deep, **FACES}
    with pytest.raises(InputError, match="attributes.json is damaged: it is nested too deep"):
        open_data(write(tmp_path / "set", files))


# ---- places


@pytest.mark.parametrize("name", ["../0.png", "/tmp/0.png", "a/../../0.png", "..\\0.png", "C:\\0.png", "\\\\h\\0.png", "a/.."])
@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_members_that_lead_out_of_their_archive_are_refused(tmp_path, name, suffix):
    path = {"zip": write_zip, "tar": write_tar}[suffix](tmp_path / f"a.{suffix}", {**FACES, name: encoded(4)})
    with pytest.raises(InputError, match=rf"a.{suffix} has a file .*, whose path leads out of the archive"):
        open_data(path, split="all")


def test_names_with_dots_within_are_read(tmp_path):
    names = ("a..b.png", "...c.png".replace("...", "x.."), "d/e..f.png")
    path = write_zip(tmp_path / "a.zip", {name: encoded(i) for i, name in enumerate(names)})
    assert sorted(numbers(open_data(path, split="all"))) == [0, 1, 2]


def test_an_archive_has_one_file_of_a_name(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("0.png", encoded(0))
        archive.writestr("0.png", encoded(1))
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.png", "./0.png"):
            member = tarfile.TarInfo(name)
            member.size = len(encoded(0))
            archive.addfile(member, io.BytesIO(encoded(0)))
    for name in ("a.zip", "a.tar"):
        with pytest.raises(InputError, match=f"{name} has two files '0.png'"):
            open_data(tmp_path / name, split="all")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("images.npy", npy((1, 2, 2), data=bytes(4)))
        archive.writestr("images.npy", npy((1, 2, 2), data=b"abcd"))
    with pytest.raises(InputError, match="a.npz has two arrays 'images'"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("what", ["file", "folder"])
def test_links_out_of_the_data_are_refused_unless_allowed(tmp_path, what):
    write(tmp_path / "private", {"3.png": encoded(3)})
    folder = write(tmp_path / "set", FACES)
    link, target = (folder / "3.png", "private/3.png") if what == "file" else (folder / "more", "private")
    link.symlink_to(tmp_path / target)
    for read in (open_data, digest):
        with pytest.raises(InputError, match=f"{link} is a link that leads out of the data to .*{target}; --follow-links"):
            read(folder)
    assert sorted(numbers(open_data(folder, split="all", links=True))) == [0, 1, 2, 3]
    assert sorted(numbers(open_data(f"{folder}", split="all", links=True, layout="images"))) == [0, 1, 2, 3]


def test_links_within_the_data_and_to_the_data_are_read(tmp_path):
    folder = write(tmp_path / "set", {f"real/{name}": data for name, data in FACES.items()})
    (folder / "again").symlink_to("real")
    (folder / "gone").symlink_to("nowhere")
    (tmp_path / "link").symlink_to(folder)
    assert sorted(numbers(open_data(tmp_path / "link", split="all"))) == [0, 0, 1, 1, 2, 2]
    # a folder whose name begins like that of the data is another
    write(tmp_path / "set2", {"3.png": encoded(3)})
    (folder / "other").symlink_to(tmp_path / "set2")
    with pytest.raises(InputError, match="leads out of the data"):
        open_files(folder)


# ---- files that are none


def _special(path, kind):
    if kind == "pipe":
        os.mkfifo(path)
    else:
        opened = socket.socket(socket.AF_UNIX)
        opened.bind(str(path))
        opened.close()


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_special_files_are_not_opened(tmp_path, kind, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    write(tmp_path / "set", FACES)
    _special("set/x.png", kind)
    for read in (open_data, digest):
        with pytest.raises(InputError, match=f"set/x.png is a {kind}, which is not read; remove it"):
            read(tmp_path / "set")
    for suffix in ("npz", "zip", "tar", "parquet"):
        _special(f"x.{suffix}", kind)
        with pytest.raises(InputError, match=f"x.{suffix}"):
            open_data(tmp_path / f"x.{suffix}")
    with pytest.raises(InputError, match="x.npz is no regular file"):
        load_reference(tmp_path / "x.npz")


@pytest.mark.parametrize("storage", ["npz", "png"])
def test_special_files_of_a_set_of_samples_are_not_opened(tmp_path, storage):
    made = SampleSet.create(tmp_path / "set", {}, (), np.zeros((1, 0), np.int32), Pixels(8, 8, 3), storage)
    made.write(0, pixels(0)[None])
    shard = next(file for file in (tmp_path / "set").rglob("*0000.*") if file.suffix[1:] == storage)
    shard.unlink()
    os.mkfifo(shard)
    with pytest.raises(InputError, match=f"{shard.name} is no regular file"):
        load_arrays(SampleSet.open(tmp_path / "set"))
    (tmp_path / "set" / "samples.json").unlink()
    os.mkfifo(tmp_path / "set" / "samples.json")
    with pytest.raises(InputError, match="is a pipe, which is not read"):
        open_data(tmp_path / "set")


def test_only_formats_of_images_are_tried(tmp_path):
    # Pillow would start a program to draw it
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"
    write(tmp_path / "set", {"0.png": page, **{f"a{name}": data for name, data in FACES.items()}})
    with pytest.raises(InputError, match="0.png cannot be decoded as an image: its content is of no known kind"):
        load_arrays(open_data(tmp_path / "set", split="all"))


# ---- names


def test_names_that_are_no_text_are_read_and_shown(tmp_path):
    folder = write(tmp_path / "set", FACES)
    odd = os.fsdecode(b"\xff.png")
    (folder / odd).write_bytes(encoded(3))
    source = open_data(folder, split="all")
    assert sorted(numbers(source)) == [0, 1, 2, 3]
    (folder / odd).write_bytes(b"no image")
    with pytest.raises(InputError) as raised:
        load_arrays(source)
    assert str(raised.value).isprintable() and "\\udcff.png cannot be decoded" in str(raised.value)
    classes = write(tmp_path / "classes", {f"a/{name}": data for name, data in FACES.items()})
    os.mkdir(classes / os.fsdecode(b"\xfe"))
    (classes / os.fsdecode(b"\xfe") / "3.png").write_bytes(encoded(3))
    with pytest.raises(InputError, match="attribute 'label' must be Unicode text") as raised:
        open_data(classes)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("reader", ["celeba", "fairface"])
def test_tables_of_publishers_have_a_row_for_each_file(tmp_path, reader):
    from tests.data.layouts import celeb_a_tables, fair_face_table

    if reader == "celeba":
        tables = celeb_a_tables({"000001.jpg": [1] * 40}, {"000001.jpg": 0})
        name = "list_attr_celeba.txt"
        tables[name] += tables[name].splitlines()[-1] + "\n"
        files = tables | {"img_align_celeba/000001.jpg": encoded(0, "JPEG")}
    else:
        name, row = "fairface_label_train.csv", ("train/1.jpg", "0-2", "Male", "White")
        files = {name: fair_face_table([row, row]), "train/1.jpg": encoded(0, "JPEG")}
    with pytest.raises(InputError, match=f"row . of .*{name} repeats"):
        open_data(write(tmp_path / "set", files))
