"""`python -m sample search | draw | sweep`: model -> images."""

import inspect
from typing import Annotated

import tyro

from jaxdiff._console.terminal import run


def main() -> None:
    """Parses the command line and runs the command."""
    from .common import solver_table
    from .draw import Draw, draw, method_table
    from .dry_run import dry_run
    from .objective import search_by_objective
    from .search import Search, search
    from .sweep import Sweep, sweep

    drawing = "\n\n".join([inspect.getdoc(Draw), method_table(), solver_table()])
    command = tyro.cli(
        Annotated[Search, tyro.conf.subcommand("search", description=f"{inspect.getdoc(Search)}\n\n{solver_table()}")]
        | Annotated[Draw, tyro.conf.subcommand("draw", description=drawing)]
        | Annotated[Sweep, tyro.conf.subcommand("sweep", description=f"{inspect.getdoc(Sweep)}\n\n{solver_table()}")],
        prog="python -m sample",
        description="Draws images from a trained model, fairly. First search the transition point, then draw.",
    )
    if isinstance(command, Search):
        (search_by_objective if command.objective else search)(command)
    elif isinstance(command, Sweep):
        sweep(command)
    elif command.dry_run:
        dry_run(command)
    else:
        draw(command)


def start() -> None:
    """Runs the program."""
    run(main)


if __name__ == "__main__":
    start()
