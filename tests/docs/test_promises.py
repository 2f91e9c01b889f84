"""Each line of the page of promises names a test that exists."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/howto/promises.md").read_text()


def test_every_promise_names_a_test():
    lines = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| ---"))]
    assert len(lines) > 20
    for line in lines:
        found = re.search(r"`(tests/[\w/]+\.py)::(test_\w+)` \|$", line)
        assert found, line
        assert f"def {found[2]}(" in (ROOT / found[1]).read_text(), line
