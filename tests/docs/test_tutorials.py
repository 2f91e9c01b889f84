"""The tutorials run, and their own assertions hold."""

import os
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT, blocks
from tests.processes import LIMIT, QUICK

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("[!i]*.md"))
LONG = {"fair-faces", "fair-firefighters"}
"""Those that run longer than they compile."""


@pytest.mark.slow
@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_tutorials_run(page):
    cells = [block for block in blocks(page) if block.language == "{code-cell}"]
    assert cells
    script = ["names = {}"] + [f"exec(compile({cell.text!r}, {cell.name!r}, 'exec'), names)" for cell in cells]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(script)],
        cwd=page.parent,
        env={**os.environ, **({} if page.stem in LONG else QUICK), "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"},
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
