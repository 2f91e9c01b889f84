"""Every `jaxdiff` command in the documentation parses."""

import importlib
import sys

import pytest
import tyro

from tests.docs.pages import PAGES, blocks, commands

PROGRAMS = {"train", "sample", "evaluate", "cache", "demo"}
SHELL = [block for page in PAGES for block in blocks(page) if block.language == "bash" and "jaxdiff" in block.text]


class Parsed(Exception):
    """A program has read its command line."""


@pytest.fixture
def parse(monkeypatch):
    """Has a program read a command line as it does when it starts, and stops it there; options that it refuses end the test."""

    def stopping(parser):
        def reading(*given, **named):
            parser(*given, **named)
            raise Parsed

        return reading

    monkeypatch.setattr(tyro, "cli", stopping(tyro.cli))
    monkeypatch.setattr(tyro.extras, "subcommand_cli_from_dict", stopping(tyro.extras.subcommand_cli_from_dict))

    def parsed(program, *arguments):
        assert program in PROGRAMS, f"jaxdiff has no program {program}"
        package = f"jaxdiff._programs.{program}" if program in ("cache", "demo") else program
        main = importlib.import_module(f"{package}.__main__").main
        monkeypatch.setattr(sys, "argv", [f"jaxdiff {program}", *arguments])
        with pytest.raises(Parsed):
            main()

    return parsed


@pytest.mark.parametrize("block", SHELL, ids=lambda block: block.name)
def test_commands_in_the_documentation_parse(block, parse, tmp_path, capsys):
    found = commands(block.text, tmp_path)
    for arguments in found:
        if arguments in (["--help"], ["--version"]):
            continue
        try:
            parse(*arguments)
        except SystemExit:
            captured = capsys.readouterr()
            pytest.fail(f"{block.name}: jaxdiff {' '.join(arguments)}\n{captured.out}{captured.err}", pytrace=False)


def test_every_block_with_jaxdiff_is_seen(tmp_path):
    """Loops and variables are expanded, and a command behind another one (srun, a cloud's ssh) is found."""
    script = (
        'm="--model runs/a"\nfor k in x y; do jaxdiff sample draw $m --out out/{p,q}/$k; done\n'
        'srun --nodes 4 jaxdiff train --out a\ncloud ssh --command="jaxdiff train --out b"\npip install jaxdiff\n'
    )
    drawn = [["sample", "draw", "--model", "runs/a", "--out", f"out/p/{k}", f"out/q/{k}"] for k in "xy"]
    assert commands(script, tmp_path) == [*drawn, ["train", "--out", "a"], ["train", "--out", "b"]]


@pytest.mark.parametrize(
    "arguments",
    [
        "sample draw --model runs/a --out out/a --methd vanilla",
        "sample draw --model runs/a --out out/a --method vanila",
        "evaluate fairness --synthetic out/a --attribute group --out report --asociated all",
        "train --presett tiny --out runs/a",
    ],
)
def test_a_misspelled_option_does_not_parse(arguments, parse, capsys):
    with pytest.raises(SystemExit):
        parse(*arguments.split())
    assert capsys.readouterr().err
