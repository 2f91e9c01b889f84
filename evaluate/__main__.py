"""`python -m evaluate fairness`: images -> verdict."""

import tyro

from console.terminal import run


def main() -> None:
    """Parses the command line and runs the command."""
    from evaluate.fairness import Fairness, fairness

    options = tyro.extras.subcommand_cli_from_dict(
        {"fairness": Fairness},
        prog="python -m evaluate",
        description="Judges images from anywhere: sets of samples, folders, zips and npz files.",
    )
    fairness(options)


if __name__ == "__main__":
    run(main)
