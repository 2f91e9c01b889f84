"""Files and folders are written whole or not at all: after every failure the old content is there, and nothing else."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from jaxdiff import writing
from jaxdiff.errors import InputError
from jaxdiff.finished import file_checksum
from jaxdiff.writing import file_name, whole, write_text


def names(folder):
    return sorted(each.name for each in folder.iterdir())


def test_writes_files_and_folders_and_creates_their_parents(tmp_path):
    write_text(tmp_path / "a" / "b" / "text.txt", "ü")
    assert (tmp_path / "a" / "b" / "text.txt").read_bytes() == "ü".encode()
    (tmp_path / "folder").mkdir()  # an empty one is replaced
    for name in ("folder", "new"):
        with whole(tmp_path / name, folder=True) as partial:
            (partial / "inside").mkdir()
            (partial / "inside" / "file").write_text("x")
        assert (tmp_path / name / "inside" / "file").read_text() == "x"
    assert names(tmp_path) == ["a", "folder", "new"]


def test_until_the_end_the_old_file_is_there_whole(tmp_path):
    file = tmp_path / "file"
    write_text(file, "old")
    with whole(file) as partial:
        partial.write_text("new")
        assert file.read_text() == "old" and partial.parent == tmp_path
    assert file.read_text() == "new" and names(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), ValueError("a bug"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_no_other(tmp_path, error):
    write_text(tmp_path / "file", "old")
    expected = InputError if isinstance(error, OSError) else type(error)
    for folder in (False, True):
        with pytest.raises(expected) as caught, whole(tmp_path / ("new" if folder else "file"), folder=folder) as partial:
            (partial / "part" if folder else partial).write_text("half")
            raise error
        if isinstance(error, OSError):
            assert str(caught.value) == f"cannot write {tmp_path / ('new' if folder else 'file')}: No space left on device"
        assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failure_at_the_end_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, call):
    write_text(tmp_path / "file", "old")

    def fails(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(writing.os, call, fails)
    with pytest.raises(InputError, match=r"^cannot write .*file: Read-only file system$"):
        write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_text() == "old"


def test_content_is_on_the_disk_before_the_name(tmp_path, monkeypatch):
    done, replace, sync = [], os.replace, os.fsync
    monkeypatch.setattr(writing.os, "replace", lambda *paths: (done.append("name"), replace(*paths)))
    monkeypatch.setattr(
        writing.os,
        "fsync",
        lambda opened: (done.append(os.path.basename(os.readlink(f"/proc/self/fd/{opened}"))), sync(opened)),
    )
    with whole(tmp_path / "new", folder=True) as partial:
        (partial / "file").write_text("x")
    assert done == ["file", "new.partial", "name", tmp_path.name]


def test_rests_of_a_killed_run_are_replaced_whatever_they_are(tmp_path):
    rests = tmp_path / "file.partial"
    rests.mkdir()
    (rests / "inside").write_text("rest")
    write_text(tmp_path / "file", "new")
    (tmp_path / "folder.partial").write_text("rest")
    with whole(tmp_path / "folder", folder=True) as partial:
        (partial / "file").write_text("x")
    assert names(tmp_path) == ["file", "folder"] and names(tmp_path / "folder") == ["file"]


def test_errors_name_the_file(tmp_path):
    write_text(tmp_path / "file", "x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "x").touch()
    with pytest.raises(InputError, match=r"^cannot write .*/file/deeper/new: Not a directory$"):
        write_text(tmp_path / "file" / "deeper" / "new", "x")
    with pytest.raises(InputError, match=r"^cannot write .*/folder: Is a directory$"):
        write_text(tmp_path / "folder", "x")
    with (
        pytest.raises(InputError, match=r"^cannot write .*/folder: Directory not empty$"),
        whole(tmp_path / "folder", folder=True),
    ):
        pass
    assert names(tmp_path) == ["file", "folder"]


def test_private_files_are_their_owners_alone_and_have_a_path_per_process(tmp_path):
    with whole(tmp_path / "cached", private=True) as partial:
        partial.write_text("x")
        assert str(os.getpid()) in partial.name
    assert (tmp_path / "cached").stat().st_mode & 0o777 == 0o600


def test_names_that_are_no_text_are_written(tmp_path):
    write_text(tmp_path / "file", os.fsdecode(b"a\xff"))
    assert (tmp_path / "file").read_text() == "a\\udcff"


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, safetensors.numpy
from jaxdiff.errors import InputError
from jaxdiff.writing import whole
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
folder, arrays = Path(sys.argv[1]), {"a": np.zeros(1000)}
for save in (lambda path: safetensors.numpy.save_file(arrays, path), lambda path: path.write_bytes(bytes(8000))):
    try:
        with whole(folder / "file") as partial:
            save(partial)
    except InputError as error:
        print(error, [each.name for each in folder.iterdir()])
"""


def test_arrays_that_do_not_fit_are_an_error(tmp_path):
    """In a process of its own, since the limit holds for whatever a process writes, as pytest does."""
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and not done.returncode, done.stderr
    for line in lines:
        assert line.startswith(f"cannot write {tmp_path / 'file'}: ") and "File too large" in line and line.endswith(" []")


def test_a_killed_writer_is_followed_by_another(tmp_path):
    program = (
        "import os, signal, sys; from jaxdiff.writing import whole\n"
        "with whole(sys.argv[1]) as partial: partial.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, tmp_path / "file"])
    assert killed.returncode == -signal.SIGKILL and names(tmp_path) == ["file.partial"]
    write_text(tmp_path / "file", "new")
    assert names(tmp_path) == ["file"]


def test_the_checksum_of_files(tmp_path):
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    # FIPS 180-2, B.1
    assert file_checksum(tmp_path / "a") == "ba7816bf8f01cfea"
    both = {file_checksum(tmp_path / "a", tmp_path / "b"), file_checksum(tmp_path / "b", tmp_path / "a")}
    assert len(both) == 2 and file_checksum(tmp_path / "a") not in both


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hair+skin tone, größe", "hair+skin tone, größe"),
        ("../a/b", "..%2Fa%2Fb"),
        ("50%\0\n", "50%25%00%0A"),
        (os.fsdecode(b"a\xff"), "a%DCFF"),
    ],
)
def test_texts_of_users_become_one_part_of_a_path(tmp_path, text, name):
    assert file_name(text) == name
    write_text(tmp_path / f"tau-{file_name(text)}.json", "x")
    assert names(tmp_path) == [f"tau-{name}.json"]


def test_long_texts_become_short_names_that_differ(tmp_path):
    found = {file_name("ü" * 200 + end) for end in "ab"}
    assert len(found) == 2 and all(len(name.encode()) <= 100 for name in found)
