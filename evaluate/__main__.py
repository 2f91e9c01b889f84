"""`python -m evaluate fairness | likelihood | memorization | report | safety | speed | sweep`: images -> verdict."""

import tyro

from jaxdiff._console.hosts import Processes
from jaxdiff._console.terminal import run


def main() -> None:
    """Parses the command line and runs the command."""
    from .fairness import Fairness, fairness
    from .html_report import HtmlReport, html_report
    from .likelihood import Likelihood, likelihood
    from .memorization import Memorization, memorization
    from .safety import Safety, safety
    from .speed import Speed, speed
    from .sweep import Sweep, sweep

    commands = {
        "fairness": (Fairness, fairness),
        "likelihood": (Likelihood, likelihood),
        "memorization": (Memorization, memorization),
        "report": (HtmlReport, html_report),
        "safety": (Safety, safety),
        "speed": (Speed, speed),
        "sweep": (Sweep, sweep),
    }
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in commands.items()},
        prog="python -m evaluate",
        description="Judges images from anywhere: sets of samples, folders, zips and npz files; a model's density of them, "
        "what it repeats of its training images, and the speed of networks beside PyTorch.",
    )
    if isinstance(options, Processes):
        options.join()
    dict(commands.values())[type(options)](options)


def start() -> None:
    """Runs the program."""
    run(main)


if __name__ == "__main__":
    start()
