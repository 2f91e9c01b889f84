"""`python -m evaluate fairness | likelihood | memorization | report | safety | speed | sweep`: images -> verdict."""

import tyro

from console.hosts import Processes
from console.terminal import run


def main() -> None:
    """Parses the command line and runs the command."""
    from evaluate.fairness import Fairness, fairness
    from evaluate.html_report import HtmlReport, html_report
    from evaluate.likelihood import Likelihood, likelihood
    from evaluate.memorization import Memorization, memorization
    from evaluate.safety import Safety, safety
    from evaluate.speed import Speed, speed
    from evaluate.sweep import Sweep, sweep

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


if __name__ == "__main__":
    run(main)
