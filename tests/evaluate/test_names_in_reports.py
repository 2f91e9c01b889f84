"""Names of users in Markdown and in figures: shown as they are, whatever they hold."""

import os
import re

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from evaluate.writing import markdown, markdown_code, markdown_table
from jaxdiff._console import plots


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("faces_64.npz", "faces_64.npz"),
        ("12.5 [0.1, 20] (12*), p < 0.05", "12.5 [0.1, 20] (12*), p < 0.05"),
        ("a|b", r"a\|b"),
        ("<script>", r"\<script>"),
        ("_a_ __b__", r"\_a\_ \_\_b\_\_"),
        ("*a* **b**", r"\*a* \*\*b*\*"),
        ("`code` ~a~ $x$", r"\`code\` \~a\~ \$x\$"),
        ("[a](http://x)", r"[a]\(http://x)"),
        ("&lt; & b", r"\&lt; & b"),
        ("a\\|b", r"a\\\|b"),
        ("a\nb\r\nc", "a b c"),
    ],
)
def test_markdown_shows_text_as_it_is(text, escaped):
    assert markdown(text) == escaped


def test_a_cell_stays_a_cell():
    lines = markdown_table(["set|", "n"], [["a|b", "1"], ["c\n| d | e |", "2"]]).split("\n")
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in lines} == {3}
    assert lines[1] == "| :-- | --: |"


def test_a_command_is_code_that_a_shell_takes():
    assert markdown_code(["evaluate", "--out", "a b"]) == "`evaluate --out 'a b'`"
    assert markdown_code(["x", "`` a"]) == "``` x '`` a' ```"


@pytest.mark.parametrize("name", ["a$_{$b", "$x$", "\\$", "_a", os.fsdecode(b"a\xff"), "{x}%s"])
def test_figures_show_names_as_they_are(tmp_path, monkeypatch, name):
    figures, save = [], Figure.savefig

    def keep(figure, path, **given):
        save(figure, path, **given)
        figures.append([text.get_text() for text in figure.findobj(Text)])

    monkeypatch.setattr(Figure, "savefig", keep)
    shown = name.encode(errors="backslashreplace").decode()
    plots.transition(tmp_path / "a.png", [(name, (0.0, 0.5, 1.0), (3.0, 2.0, 1.0), 0.5)], name, (0.3, 0.6))
    assert shown in figures[0] and any(text.strip() == f"{shown}: tau = 0.500" for text in figures[0])
    plots.training(tmp_path / "b.png", [{"step": step, "loss": 0.1**step} for step in range(5)], name)
    assert shown in figures[1] and not any("mathdefault" in text for text in figures[1])
    assert sorted(os.listdir(tmp_path)) == ["a.png", "b.png"]


def test_a_figure_that_fails_leaves_no_file_and_is_closed(tmp_path):
    with pytest.raises(ZeroDivisionError), plots.figure(tmp_path / "a.png"):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir()) and not plots.pyplot().get_fignums()
