"""Concepts: phrases of the command line and of files, each once and in order."""

import pytest

from jaxdiff.conditions import concepts
from jaxdiff.errors import InputError


def test_phrases_and_lines_of_files_are_taken_once_and_in_order(tmp_path):
    file = tmp_path / "more.TXT"
    file.write_text("\n with glasses \nwith a beard\r\n\nwith a hat\n")
    assert concepts.read(["with a beard", str(file), " ", "lipstick"]) == (
        "with a beard", "with glasses", "with a hat", "lipstick",
    )  # fmt: skip
    assert concepts.read([" ", ""]) == () == concepts.read([])


def test_what_a_phrase_is_does_not_depend_on_what_files_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beard").write_text("glasses\n")
    assert concepts.read(["beard"]) == ("beard",)
    with pytest.raises(InputError, match="beard.txt does not exist"):
        concepts.read(["beard.txt"])


def test_damaged_and_endless_files_are_errors(tmp_path):
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="bytes.txt is damaged"):
        concepts.read([str(tmp_path / "bytes.txt")])
    (tmp_path / "many.txt").write_text("\n".join(map(str, range(10_001))))
    with pytest.raises(InputError, match="there are 10,001 concepts; at most 10,000 are taken"):
        concepts.read([str(tmp_path / "many.txt")])
