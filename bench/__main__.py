"""`python -m bench`: what is too slow for the tests and too noisy to be one, measured."""

import inspect
from typing import Annotated

import tyro

from console.terminal import run


def main() -> None:
    """Parses the command line and runs the measurement."""
    from bench.devices import Devices, devices
    from bench.kill_sampling import KillSampling, kill_sampling
    from bench.kills import Kills, kills
    from bench.safety import SafetyCost, safety_cost
    from bench.sampler import Sampler, sampler
    from bench.solvers import Solvers, solvers
    from bench.switching import Switching, switching

    command = tyro.cli(
        Annotated[Switching, tyro.conf.subcommand("switching", description=inspect.getdoc(Switching))]
        | Annotated[Solvers, tyro.conf.subcommand("solvers", description=inspect.getdoc(Solvers))]
        | Annotated[KillSampling, tyro.conf.subcommand("kill-sampling", description=inspect.getdoc(KillSampling))]
        | Annotated[Sampler, tyro.conf.subcommand("sampler", description=inspect.getdoc(Sampler))]
        | Annotated[Devices, tyro.conf.subcommand("devices", description=inspect.getdoc(Devices))]
        | Annotated[Kills, tyro.conf.subcommand("kills", description=inspect.getdoc(Kills))]
        | Annotated[SafetyCost, tyro.conf.subcommand("safety", description=inspect.getdoc(SafetyCost))],
        prog="python -m bench",
        description="Measures speed and quality on the shipped model, what many devices take, and runs that are killed.",
    )
    match command:
        case Switching():
            switching(command)
        case Solvers():
            solvers(command)
        case KillSampling():
            kill_sampling(command)
        case Sampler():
            sampler(command)
        case Devices():
            devices(command)
        case Kills():
            kills(command)
        case _:
            safety_cost(command)


if __name__ == "__main__":
    run(main)
