"""`jaxdiff demo`: fair sampling from end to end on the embedded faces, with the shipped model."""

from jaxdiff._console import interrupts

if __name__ == "__main__":
    interrupts.end_while_importing()

import sys

from jaxdiff._console import terminal
from jaxdiff._console.commands import parsed
from jaxdiff._console.device import prepare
from jaxdiff._version import __version__

from .options import Demo

OPTIONS = Demo


def main() -> None:
    """Parses the command line and runs the demo."""
    if sys.argv[1:] == ["--version"]:
        print(__version__)
        return
    options = parsed(Demo, "jaxdiff demo", sys.argv[1:])
    prepare()
    from .run import run

    run(options)


def start() -> None:
    """Runs the program."""
    terminal.start(main)


if __name__ == "__main__":
    start()
