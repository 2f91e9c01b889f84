"""Printing changes nothing: output that cannot be written is discarded, and names are shown as they are."""

import io
import os
import subprocess
import sys

import pytest
from rich.table import Table

from jaxdiff._console import terminal
from jaxdiff._console.pipes import surviving_output
from jaxdiff._console.terminal import PlainConsole, progress, working

PRINTING = """
import sys
from jaxdiff._console.terminal import console, run
def main():
    for _ in range(10_000): console.print("words")
    open(sys.argv[1], "w").write("done")
run(main)
"""
NAMES = ("a[/x]", "[bold]x[/bold]", "a[link=x]", ":smile:", "\\[x]", "[", "{task}", "%s")


def printed(show, **options):
    """What `show(console)` prints."""
    console = PlainConsole(file=io.StringIO(), width=200, **options)
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are(name):
    assert printed(lambda console: console.print(f"written: {name}")) == f"written: {name}\n"
    table = Table(title=name)
    table.add_column(name)
    table.add_row(name)
    assert printed(lambda console: console.print(table)).count(name) == 3
    assert name in printed(lambda console: console.rule(name))


@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_as_they_are_in_progress(name, monkeypatch):
    console = PlainConsole(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    monkeypatch.setattr(terminal, "_progress", console)
    with progress(name, 2) as advance:
        advance(2, note=f"{name} done")
    with working(f"{name} at work"):
        pass
    for words in (name, f"{name} done", f"{name} at work"):
        assert words in console.file.getvalue()


def test_control_characters_are_shown_as_escapes():
    assert printed(lambda console: console.print("a\x1b[2Jb\rc\x07\u009b\nd")) == "a\\x1b[2Jb\\x0dc\\x07\\x9b\nd\n"


@pytest.mark.parametrize("message", ["a[/x] is wrong", "a\x1b[2J"])
def test_an_error_has_its_names_as_they_are(message, capsys):
    def fails():
        raise terminal.InputError(message)

    with pytest.raises(SystemExit):
        terminal.run(fails)
    assert capsys.readouterr().err == f"error: {message}\n".replace("\x1b", "\\x1b")


def run_into(tmp_path, stdout, closed=()):
    """Runs `PRINTING` with its standard output in a file, and some of its standard streams closed by a shell."""
    closing = f'exec "$@" {" ".join(f"{number}>&-" for number in closed)}'
    command = ["sh", "-c", closing, "sh", sys.executable, "-c", PRINTING, tmp_path / "result"]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True)


def test_a_full_disk_under_standard_output_ends_no_work(tmp_path):
    with open("/dev/full", "w") as full:
        ended = run_into(tmp_path, full)
    assert ended.returncode == 0 and (tmp_path / "result").read_text() == "done"
    reason = "standard output cannot be written, and is discarded from here on: No space left on device\n"
    assert ended.stderr == reason


def test_a_pipe_without_a_reader_ends_no_work(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    ended = run_into(tmp_path, writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "") and (tmp_path / "result").read_text() == "done"


@pytest.mark.parametrize(
    "closed", [pytest.param((1,), marks=pytest.mark.slow), pytest.param((2,), marks=pytest.mark.slow), (0, 1, 2)]
)
def test_closed_streams_end_no_work_and_get_no_file(tmp_path, closed):
    ended = run_into(tmp_path, subprocess.DEVNULL, closed)
    assert ended.returncode == 0 and (tmp_path / "result").read_text() == "done"


@pytest.mark.parametrize("text", ["π", os.fsdecode(b"a\xff")])
def test_what_the_encoding_lacks_is_an_escape(text, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    with surviving_output():
        sys.stdout.write(f"{text}\n")
    assert raw.getvalue() == text.encode("ascii", "backslashreplace") + b"\n"
