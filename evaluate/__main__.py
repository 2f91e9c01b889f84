"""`python -m evaluate fairness | likelihood`: images -> verdict."""

import tyro

from console.terminal import run


def main() -> None:
    """Parses the command line and runs the command."""
    from evaluate.fairness import Fairness, fairness
    from evaluate.likelihood import Likelihood, likelihood

    options = tyro.extras.subcommand_cli_from_dict(
        {"fairness": Fairness, "likelihood": Likelihood},
        prog="python -m evaluate",
        description="Judges images from anywhere: sets of samples, folders, zips and npz files; and a model's density of them.",
    )
    if isinstance(options, Likelihood):
        likelihood(options)
    else:
        fairness(options)


if __name__ == "__main__":
    run(main)
