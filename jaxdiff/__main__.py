"""`jaxdiff train | sample | evaluate | cache | demo`: the programs by one command; `python -m jaxdiff` is the same."""

import importlib
import sys
from importlib.util import find_spec

from jaxdiff._console import interrupts
from jaxdiff._console.pipes import surviving_output
from jaxdiff._version import __version__

PROGRAMS = {
    "train": "train a diffusion model or a classifier; import and export models",
    "sample": "search the transition point of switching, and draw images",
    "evaluate": "measure fairness, safety, memorization, likelihood and speed",
    "cache": "list and remove what is cached on this machine",
    "demo": "all of it once, on generated faces, with the shipped model",
}
COMPLETION = "completion"
NEEDED = ("matplotlib", "rich", "tyro")
"""What the programs need in addition to the library: the extra `programs`."""

USAGE = "\n".join(
    [
        "usage: jaxdiff PROGRAM [COMMAND] [OPTIONS]",
        "",
        "Score-based diffusion models in JAX: train, sample fairly and safely without",
        "retraining, and measure both.",
        "",
        "programs:",
        *(f"  {name:<12}{about}" for name, about in PROGRAMS.items()),
        f'  {COMPLETION:<12}completion for a shell: eval "$(jaxdiff completion bash)"',
        "",
        "`jaxdiff PROGRAM --help` lists the commands of a program; `jaxdiff --version`",
        "prints the version.",
    ]
)


def main() -> None:
    """Runs the program that the first argument names, with the arguments after it."""
    interrupts.end_while_importing()
    with surviving_output():
        _main()


def _main() -> None:
    given, *rest = sys.argv[1:] or ["--help"]
    if given in ("-h", "--help"):
        print(USAGE)
    elif given == "--version":
        print(__version__)
    elif given not in (*PROGRAMS, COMPLETION):
        _fail(f"unknown program {given!r}; it takes one of {', '.join((*PROGRAMS, COMPLETION))}")
    elif lacking := [name for name in NEEDED if find_spec(name) is None]:
        _fail(f"`jaxdiff {given}` needs {', '.join(lacking)}: pip install 'jaxdiff[programs]'")
    elif given == COMPLETION:
        _complete(rest)
    else:
        sys.argv = [f"jaxdiff {given}", *rest]
        _program(given).start()


def _complete(arguments: list[str]) -> None:
    from jaxdiff._console.completion import SHELLS, print_completion

    if arguments in ([], ["-h"], ["--help"]):
        print(f"usage: jaxdiff {COMPLETION} {{{','.join(SHELLS)}}}\n\nPrints a script that makes a shell complete `jaxdiff`.")
    elif len(arguments) > 1 or arguments[0] not in SHELLS:
        _fail(f"`jaxdiff {COMPLETION}` takes one of {', '.join(SHELLS)}, got {' '.join(arguments)}")
    else:
        print_completion(arguments[0], {name: _program(name).OPTIONS for name in PROGRAMS})


def _program(name: str):
    return importlib.import_module(f"jaxdiff._programs.{name}.__main__")


def _fail(words: str) -> None:
    print(f"error: {words}", file=sys.stderr)
    raise SystemExit(2)


if __name__ == "__main__":
    main()
