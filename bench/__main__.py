"""`python -m bench`: what is too slow for the tests and too noisy to be one, measured."""

import inspect
from typing import Annotated

import tyro

from console.terminal import run


def main() -> None:
    """Parses the command line and runs the measurement."""
    from bench.safety import SafetyCost, safety_cost
    from bench.search import SearchSpread, search_spread
    from bench.solvers import Solvers, solvers
    from bench.switching import Switching, switching

    command = tyro.cli(
        Annotated[Switching, tyro.conf.subcommand("switching", description=inspect.getdoc(Switching))]
        | Annotated[Solvers, tyro.conf.subcommand("solvers", description=inspect.getdoc(Solvers))]
        | Annotated[SearchSpread, tyro.conf.subcommand("search", description=inspect.getdoc(SearchSpread))]
        | Annotated[SafetyCost, tyro.conf.subcommand("safety", description=inspect.getdoc(SafetyCost))],
        prog="python -m bench",
        description="Measures speed and quality on the shipped model.",
    )
    match command:
        case Switching():
            switching(command)
        case Solvers():
            solvers(command)
        case SearchSpread():
            search_spread(command)
        case _:
            safety_cost(command)


if __name__ == "__main__":
    run(main)
