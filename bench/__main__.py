"""`python -m bench`: benchmarks that are too slow or too noisy for the tests."""

import tyro

from jaxdiff._console.terminal import run


def main() -> None:
    """Parses the command line and runs the measurement."""
    from bench.attacks import Attacks, attacks
    from bench.compare import Compare, compare
    from bench.defences import Defences, defences
    from bench.devices import Devices, devices
    from bench.erasing import Erasing, erasing
    from bench.frontier import Frontier, frontier
    from bench.imputation import Imputation, imputation
    from bench.kills import Kills, kills
    from bench.latent_safety import LatentSafety, latent_safety
    from bench.parity import Parity, parity
    from bench.priors import PriorPictures, prior_pictures
    from bench.resizing import Resizing, resizing
    from bench.safety import SafetyCost, safety_cost
    from bench.sampler import Sampler, sampler
    from bench.search import SearchSpread, search_spread
    from bench.series_results import SeriesResults, series_results
    from bench.series_scores import SeriesScores, series_scores
    from bench.soak import Soak, soak
    from bench.solvers import Solvers, solvers
    from bench.switching import Switching, switching
    from bench.text import Text, text

    commands = {
        "attacks": (Attacks, attacks),
        "compare": (Compare, compare),
        "defences": (Defences, defences),
        "devices": (Devices, devices),
        "erasing": (Erasing, erasing),
        "frontier": (Frontier, frontier),
        "imputation": (Imputation, imputation),
        "kills": (Kills, kills),
        "latent-safety": (LatentSafety, latent_safety),
        "parity": (Parity, parity),
        "priors": (PriorPictures, prior_pictures),
        "resizing": (Resizing, resizing),
        "safety": (SafetyCost, safety_cost),
        "sampler": (Sampler, sampler),
        "search": (SearchSpread, search_spread),
        "series-results": (SeriesResults, series_results),
        "series-scores": (SeriesScores, series_scores),
        "soak": (Soak, soak),
        "solvers": (Solvers, solvers),
        "switching": (Switching, switching),
        "text": (Text, text),
    }
    options = tyro.extras.subcommand_cli_from_dict(
        {name: kind for name, (kind, _) in commands.items()},
        prog="python -m bench",
        description="Measures speed, quality and robustness, mostly of the shipped model.",
    )
    dict(commands.values())[type(options)](options)


if __name__ == "__main__":
    run(main)
