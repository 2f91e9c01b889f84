"""The pages of the documentation, and the code that they show."""

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.processes import LIMIT

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RUN = "<!-- run -->"
"""The line before a block that the tests run."""

_FENCE = re.compile(r"^( *)(```+)(\S*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)

# bash expands variables, braces and loops as a reader's shell does; the only commands it finds are these two
_RECORDER = r"""
jaxdiff() { printf '%s\0' "$@"; printf '\n'; }
command_not_found_handle() {
  while [ $# -gt 0 ]; do
    case "$1" in
      jaxdiff) shift; [ $# -gt 0 ] && jaxdiff "$@"; return ;;
      --command=*) eval "${1#--command=}" ;;
    esac
    shift
  done
}
"""


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        page: the page.
        line: the line that it begins on.
        language: what stands after the fence: `bash`, `python`, `{code-cell}`, ...
        text: what it holds.
        runs: whether the tests run it.
    """

    page: Path
    line: int
    language: str
    text: str
    runs: bool

    @property
    def name(self) -> str:
        """The page and the line, for the name of a test."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    text = page.read_text()
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found[3],
            text=found[4],
            runs=text[: found.start()].rstrip().endswith(RUN),
        )
        for found in _FENCE.finditer(text)
    ]


def commands(script: str, folder: Path) -> list[list[str]]:
    """The arguments of each call of `jaxdiff` in a script, which runs with no other command than the shell's own.

    Arguments:
        script: a script for bash.
        folder: an empty folder to run it in.
    """
    done = subprocess.run(
        [shutil.which("bash"), "--noprofile", "--norc", "-c", _RECORDER + script],
        cwd=folder,
        env={"PATH": str(folder), "HOME": str(folder)},  # in which there is no command
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert not done.stderr, f"bash cannot read the block: {done.stderr}"
    return [line.split("\0")[:-1] for line in done.stdout.splitlines()]
