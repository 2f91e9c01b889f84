"""The README is one page, links resolve, and code marked as runnable runs."""

import os
import re
import subprocess
import sys
from itertools import groupby

import pytest

from jaxdiff import model as models
from tests.docs.pages import PAGES, ROOT, blocks
from tests.processes import LIMIT, QUICK

_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_CODE = re.compile(r"^ *(```+).*?^ *\1 *$|`[^`\n]+`", re.MULTILINE | re.DOTALL)
RUNNABLE = [block for page in PAGES for block in blocks(page) if block.runs]
LONG = {"attacks.md"}
"""Pages whose code takes over ten seconds: gradients through a run of the solver, as tests/safety has them of small ones."""


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", _CODE.sub(lambda found: found[0].strip("`").replace("\n#", "\n"), text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken(page) -> list[str]:
    """The links of a page that lead nowhere in the repository; those to other sites are not followed."""
    found = []
    for target in _LINK.findall(_CODE.sub("", page.read_text())):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(file.read_text())):
            found.append(target)
    return found


def test_the_readme_is_one_page():
    lines = (ROOT / "README.md").read_text().splitlines()
    assert len(lines) <= 150
    assert {i: len(line) for i, line in enumerate(lines, 1) if len(line) > 120} == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_resolve(page):
    assert broken(page) == []


def test_a_link_that_leads_nowhere_is_seen(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A b\n[1](page.md#a-b) [2](page.md#b) [3](gone.md) [4](https://example.org) `[5](gone.md)` [6](#a-b)\n")
    assert broken(page) == ["page.md#b", "gone.md"]


def test_every_page_of_code_is_seen():
    assert {"README.md", "docs/concepts/guidance.md"} <= {str(block.page.relative_to(ROOT)) for block in RUNNABLE}
    assert {block.language for block in RUNNABLE} == {"python"}


@pytest.mark.parametrize("long", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["most pages", "long pages"])
def test_runnable_code_runs(tmp_path, save_model, long):
    """One process for all pages, so that JAX starts once; each page has its own names and folder.

    The README has the shipped model there, the others one of its shape that compiles faster.
    """
    small, shipped = save_model(tmp_path / "small" / "embedded", size=32).parent, ROOT / "checkpoints"
    one, other = (models.load(each / "embedded") for each in (small, shipped))
    assert (one.shape, one.conditions.attributes) == (other.shape, other.conditions.attributes)
    script = ["import os"]
    chosen = [block for block in RUNNABLE if (block.page.name in LONG) == long]
    for index, (page, shown) in enumerate(groupby(chosen, key=lambda block: block.page)):
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "checkpoints").symlink_to(shipped if page.name == "README.md" else small)
        script.append(f"os.chdir({str(folder)!r}); names = {{}}")
        script += [f"exec(compile({block.text!r}, {block.name!r}, 'exec'), names)" for block in shown]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(script)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **QUICK},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
