"""`jaxdiff train | sample | evaluate | demo`: the programs by one command; `python -m jaxdiff` is the same."""

import importlib
import sys

from jaxdiff._version import __version__

PROGRAMS = {
    "train": "train a diffusion model or a classifier of noised images; import and export models",
    "sample": "search the transition point of attribute switching, and draw images from a model",
    "evaluate": "measure fairness, safety, memorization, likelihood and speed, and write reports",
    "demo": "the main job from end to end on generated faces, with the model that is shipped",
}

USAGE = "\n".join(
    [
        "usage: jaxdiff PROGRAM [COMMAND] [OPTIONS]",
        "",
        "Score-based diffusion models in JAX: train, sample fairly and safely without retraining, and measure both.",
        "",
        "programs:",
        *(f"  {name:<9} {about}" for name, about in PROGRAMS.items()),
        "",
        "`jaxdiff PROGRAM --help` lists the commands and options of a program; `jaxdiff --version` prints the version.",
    ]
)


def main() -> None:
    """Runs the program that the first argument names, with the arguments after it."""
    given = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if given in ("-h", "--help"):
        print(USAGE)
    elif given == "--version":
        print(__version__)
    elif given in PROGRAMS:
        sys.argv = [f"jaxdiff {given}", *sys.argv[2:]]
        importlib.import_module(f"jaxdiff._programs.{given}.__main__").start()
    else:
        print(f"error: unknown program {given!r}; it takes one of {', '.join(PROGRAMS)}", file=sys.stderr)
        raise SystemExit(2)


if __name__ == "__main__":
    main()
