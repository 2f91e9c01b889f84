"""The cache of decoded images: keyed by content, private, bounded, removable, and never a reason to stop."""

import os
import stat
import time

import numpy as np
import pytest
from PIL import Image

from jaxdiff._console import cache, image_cache, unsafe
from jaxdiff._console.unsafe import encoded
from jaxdiff._programs.cache.__main__ import main
from jaxdiff.errors import InputError
from jaxdiff.spaces import Pixels

SPACE = Pixels(4, 4)
DAMAGES = [lambda c: c[:-100], lambda c: b"", lambda c: c[:-1] + bytes([c[-1] ^ 1]), lambda c: b"x" * 99]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def private(tmp_path):
    """A folder of images of the levels 0 to 5."""
    (tmp_path / "private").mkdir()
    for i in range(6):
        Image.fromarray(np.full((4, 4, 3), i, np.uint8)).save(tmp_path / "private" / f"{i}.bmp")
    return tmp_path / "private"


def levels(folder, **options):
    return np.rint((np.asarray(encoded(str(folder), None, SPACE, None, (), **options))[:, 0, 0, 0] + 1) * 127.5).tolist()


def copies():
    return [each.file for each in cache.files("images")]


@pytest.fixture
def decoded(monkeypatch):
    """Counts how often images are decoded."""
    calls = []
    load = unsafe.load_arrays
    monkeypatch.setattr(unsafe, "load_arrays", lambda source: calls.append(source.name) or load(source))
    return calls


def test_images_are_decoded_once_by_content_and_not_by_name_or_time(private, tmp_path, decoded):
    assert levels(private) == [0, 1, 2, 3, 4, 5]
    os.utime(private / "0.bmp", (1, 1))
    private.rename(tmp_path / "moved")
    assert levels(tmp_path / "moved") == [0, 1, 2, 3, 4, 5] and len(decoded) == 1
    # another image of the same size and time, as copies from another disk may have
    before = (tmp_path / "moved" / "1.bmp").stat()
    content = (tmp_path / "moved" / "2.bmp").read_bytes()
    assert len(content) == before.st_size
    (tmp_path / "moved" / "1.bmp").write_bytes(content)
    os.utime(tmp_path / "moved" / "1.bmp", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert levels(tmp_path / "moved") == [0, 2, 2, 3, 4, 5] and len(decoded) == 2


def test_how_images_are_read_is_part_of_the_key(private, decoded):
    rows = [f"{i}.bmp,{'ab'[i % 2]},{'train' if i < 4 else 'test'}" for i in range(6)]
    (private / "labels.csv").write_text("\n".join(["file,kind,split", *rows]) + "\n")
    assert levels(private) == [0, 1, 2, 3]
    assert levels(f"{private}:kind=b") == [1, 3]
    np.testing.assert_array_equal(encoded(str(private), "all", SPACE, None, ()).shape, (6, 4, 4, 3))
    np.testing.assert_array_equal(encoded(str(private), None, Pixels(2, 2), None, ()).shape, (4, 2, 2, 3))
    assert len(decoded) == 4 == len(copies())


def test_only_the_owner_can_read_the_copies(private, home):
    before = os.umask(0)
    try:
        levels(private)
    finally:
        os.umask(before)
    assert stat.S_IMODE((home / "jaxdiff").stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in copies()] == [0o600]


def test_a_folder_that_others_can_read_is_closed(private, home):
    (home / "jaxdiff").mkdir(mode=0o755, parents=True)
    levels(private)
    assert stat.S_IMODE((home / "jaxdiff").stat().st_mode) == 0o700


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_copy_is_replaced(private, decoded, damage):
    levels(private)
    (file,) = copies()
    intact = file.read_bytes()
    file.write_bytes(damage(intact))
    assert levels(private) == [0, 1, 2, 3, 4, 5] and len(decoded) == 2
    assert file.read_bytes() == intact


def test_a_cache_that_cannot_be_written_is_said_and_no_error(private, home, capsys):
    home.write_text("")
    assert levels(private) == [0, 1, 2, 3, 4, 5]
    assert "the images are not cached" in capsys.readouterr().out


def test_images_that_change_while_they_are_decoded_are_not_cached(private, monkeypatch):
    load = unsafe.load_arrays

    def changing(source):
        images = load(source)
        Image.fromarray(np.full((4, 4, 3), 9, np.uint8)).save(private / "0.bmp")
        return images

    monkeypatch.setattr(unsafe, "load_arrays", changing)
    assert levels(private) == [0, 1, 2, 3, 4, 5] and copies() == []


def test_the_cache_is_bounded_in_age_and_size(private, tmp_path, monkeypatch):
    levels(private)
    (old,) = copies()
    then = time.time() - (cache.DAYS + 1) * 24 * 3600
    os.utime(old, (then, then))
    for i in range(3):
        Image.fromarray(np.full((4, 4, 3), 100 + i, np.uint8)).save(private / "0.bmp")
        levels(private)
    assert old not in copies() and len(copies()) == 3
    size = sum(file.stat().st_size for file in copies())
    monkeypatch.setenv(image_cache.LIMIT, str((size - 1) / 2**30))
    Image.fromarray(np.full((4, 4, 3), 200, np.uint8)).save(private / "0.bmp")
    levels(private)
    assert len(copies()) == 2
    monkeypatch.setenv(image_cache.LIMIT, "0")
    cache.remove(cache.files("images"))
    levels(private)
    assert copies() == []


@pytest.mark.parametrize("limit", ["-1", "nan", "inf", "4GiB"])
def test_a_wrong_limit_is_an_error(private, monkeypatch, limit):
    monkeypatch.setenv(image_cache.LIMIT, limit)
    with pytest.raises(InputError, match=f"{image_cache.LIMIT} must be a number of GiB, 0 or more, got '{limit}'"):
        levels(private)


def test_copies_of_earlier_versions_are_removed(private, home, call_program):
    (home / "jaxdiff").mkdir(parents=True)
    np.save(home / "jaxdiff" / "0123.npy", np.zeros((2, 4, 4, 3), np.uint8))
    assert call_program(main, "cache", "clear", "--kind", "images") == 0
    assert not list(home.rglob("*.npy"))


def test_the_program_lists_and_clears(private, home, call_program, capsys):
    levels(private)
    (home / "jaxdiff" / "programs" / "machine").mkdir(parents=True)
    (home / "jaxdiff" / "programs" / "machine" / "p").write_bytes(bytes(3000))
    capsys.readouterr()
    assert call_program(main, "cache", "list") == 0
    listed = capsys.readouterr().out
    assert (
        "6 images; 4x4 RGB" in " ".join(listed.replace("│", " ").split())
        and "1 files of compiled programs" in listed
        and "2.93 KiB" in listed
    )
    assert call_program(main, "cache", "clear", "--unused-days", "1") == 0
    assert "removed 0 files" in capsys.readouterr().out and copies()
    assert call_program(main, "cache", "clear", "--kind", "images") == 0
    assert "removed 1 files" in capsys.readouterr().out and not copies() and cache.files("programs")
    assert call_program(main, "cache", "clear") == 0
    assert not any((home / "jaxdiff").rglob("*"))
    assert call_program(main, "cache", "list") == 0
    assert "0 B cached" in capsys.readouterr().out
    assert call_program(main, "cache", "clear", "--unused-days", "-1") == 2
    assert "--unused-days must be" in capsys.readouterr().err
