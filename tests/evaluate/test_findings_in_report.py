"""Findings on the terminal, in report.md and on the page; reports without findings have no such section."""

import io

from rich.console import Console

from evaluate import findings

FOUND = [
    {"name": "quality", "text": "precision 0.1 < 0.9 | real", "against": "held-out real images & limits", "flag": True},
    {"name": "label", "text": "not seen", "against": "random labels", "flag": False},
]
SETS = {"<noise>": {"findings": FOUND}, "clean": {"findings": []}, "older": {}}


def test_notes_are_in_brackets():
    assert findings.names(FOUND) == "quality, (label)" and findings.names([]) == "none"


def test_terminal_has_a_row_for_each_finding():
    console = Console(width=100, record=True, file=io.StringIO())
    findings.show(SETS, console)
    rows = [line.split() for line in console.export_text().splitlines()]
    assert ["clean", "none"] in rows and ["(label)", "not", "seen"] in rows
    assert next(row for row in rows if row[:1] == ["<noise>"])[1:4] == ["quality", "precision", "0.1"]


def test_markdown_has_a_row_for_each_finding_with_its_reference():
    _, table, about = findings.markdown(SETS)
    assert [len(line.replace("\\|", "").split("|")) for line in table.splitlines()] == [6] * 5
    assert "| \\<noise> | quality | precision 0.1 < 0.9 \\| real | held-out real images & limits |" in table
    assert "Bonferroni" in about


def test_page_has_a_list_for_each_set():
    page = findings.html({"synthetic": [{"name": name, **content} for name, content in SETS.items()]})
    assert "<dt>&lt;noise&gt;</dt>" in page and "precision 0.1 &lt; 0.9" in page and "images &amp; limits" in page
    assert "<dt>clean</dt><dd>none</dd>" in page and "older" not in page
    assert page.count("<li>") == page.count("</li>") == 2


def test_reports_without_findings_have_no_section():
    console = Console(width=100, record=True, file=io.StringIO())
    findings.show({"older": {}}, console)
    assert console.export_text() == "" and findings.markdown({"older": {}}) == []
    assert findings.html({"synthetic": [{"name": "older"}]}) == ""
