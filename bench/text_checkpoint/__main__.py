"""`python -m bench.text_checkpoint`: makes the shipped text-to-image pipeline, or evaluates one."""

import os
import sys

import tyro

from jaxdiff._console.terminal import run

# Threads of OpenMP that wait must not spin, which would double the time on a machine with other work. Set before PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Notes on packages that are not installed and not needed.
for library in ("DIFFUSERS", "TRANSFORMERS"):
    os.environ.setdefault(f"{library}_VERBOSITY", "error")


def main() -> None:
    """Parses the command line, and makes or evaluates a pipeline."""
    from bench.text_checkpoint.options import Evaluate, Make

    commands = {"make": Make, "evaluate": Evaluate}
    given = sys.argv[1:]
    if not given or given[0] not in (*commands, "-h", "--help"):
        given = ["make", *given]
    options = tyro.extras.subcommand_cli_from_dict(
        commands,
        prog="python -m bench.text_checkpoint",
        description="Makes the shipped text-to-image pipeline (the default), or evaluates one.",
        args=given,
    )
    from bench.text_checkpoint import recipe

    if isinstance(options, Make):
        recipe.make(options)
    else:
        recipe.evaluate(options)


if __name__ == "__main__":
    run(main)
