"""`jaxdiff sample`: model -> images."""

from jaxdiff._console.commands import Command, Program


def _solvers() -> str:
    from .common import solver_table

    return solver_table()


def _methods() -> str:
    from .draw import method_table

    return f"{method_table()}\n\n{_solvers()}"


OPTIONS = Program(
    "sample",
    __package__,
    "Draws images from a trained model, fairly: first search the transition point, then draw.",
    {
        "search": Command("search the transition point of attribute switching", "search:Search", "commands:search", _solvers),
        "draw": Command("draw sets of images", "draw:Draw", "commands:draw", _methods),
        "sweep": Command("draw a set at each of many transition points", "sweep:Sweep", "sweep:sweep", _solvers),
    },
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
