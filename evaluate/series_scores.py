"""The scores of `jaxdiff evaluate series`: each as a JSON-ready function of two sets of windows, kept once it is measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32

from jaxdiff.finished import Finished, Part, checksum, key_of, once_json
from jaxdiff.quality.series import (
    ContextEncoder,
    Repeats,
    autocorrelation_distance,
    context_fid,
    correlational_score,
    discriminative_score,
    floor_windows,
    marginal_distances,
    predictive_score,
)
from jaxdiff.quality.series.context import published_iterations
from jaxdiff.quality.series.discriminative import ITERATIONS as DISCRIMINATIVE
from jaxdiff.quality.series.predictive import ITERATIONS as PREDICTIVE

from .options.series import ScoreName, SeriesSets

Unit = Float32[np.ndarray, "n l f"]
Measured = dict[str, Any]
"""A score: `mean`, and of repeats `values` and `half_width`; and what else it has."""


@dataclass(frozen=True)
class Score:
    """A score.

    Attributes:
        heading: in tables.
        digits: decimals in tables.
        measure: the score of (real, synthetic) windows.
        settings: what it depends on beside these.
        iterations: steps of training, and those of the papers; None where nothing is trained.
    """

    heading: str
    digits: int
    measure: Callable[[Unit, Unit], Measured]
    settings: Any
    iterations: tuple[int, int] | None = None


class Comparison(NamedTuple):
    """Two sets of windows that every score measures.

    Attributes:
        name: what is compared, of a set or between real windows.
        real, other: the windows.
    """

    name: str
    real: Unit
    other: Unit


def steps(options: SeriesSets, published: int) -> tuple[int, int]:
    """The steps of training of a score, and those of the papers."""
    return (published if options.iterations is None else min(published, options.iterations)), published


def of_options(options: SeriesSets, every: Unit, encoders: Sequence[ContextEncoder]) -> dict[ScoreName, Score]:
    """The scores that are asked for.

    Arguments:
        options: the options.
        every: all training windows.
        encoders: those of the context-FID; empty where it is not asked for.
    """
    how = {"repeats": options.repeats, "seed": options.seed}
    told, predicted = steps(options, DISCRIMINATIVE), steps(options, PREDICTIVE)

    def fid(real: Unit, other: Unit) -> Measured:
        return _repeated(context_fid(encoders, real, other).score)

    def discriminative(real: Unit, other: Unit) -> Measured:
        found = discriminative_score(real, other, iterations=told[0], **how)
        return {**_repeated(found.score), "real": found.real.tolist(), "synthetic": found.synthetic.tolist()}

    def marginal(real: Unit, other: Unit) -> Measured:
        found = marginal_distances(real, other)
        return {
            "mean": float(found.wasserstein.mean()),
            "by_feature": found.wasserstein.tolist(),
            "kolmogorov": found.kolmogorov.tolist(),
        }

    def autocorrelation(real: Unit, other: Unit) -> Measured:
        found = autocorrelation_distance(real, other)
        return {"mean": found.mean, "by_feature": found.by_feature.tolist()}

    checksums = [encoder.checksum for encoder in encoders]
    every_score = {
        "context_fid": Score("context-FID", 3, fid, checksums, steps(options, published_iterations(every))),
        "correlational": Score("correlational", 3, lambda *sets: _repeated(correlational_score(*sets, **how)), how),
        "discriminative": Score("discriminative", 3, discriminative, (how, told), told),
        "predictive": Score(
            "predictive", 3, lambda *sets: _repeated(predictive_score(*sets, iterations=predicted[0], **how)),
            (how, predicted), predicted,
        ),
        "marginal": Score("marginal", 4, marginal, ()),
        "autocorrelation": Score("autocorrelation", 4, autocorrelation, ()),
    }  # fmt: skip
    return {name: every_score[name] for name in options.scores}


def _repeated(score: Repeats) -> Measured:
    return {"mean": score.mean, "half_width": score.half_width, "level": score.level, "values": score.values.tolist()}


def comparisons(train: Unit, test: Unit, synthetic: Unit, seed: int) -> dict[str, tuple[Unit, Unit]]:
    """What is measured of a set, as pairs of as many windows.

    - `train`: training windows and the set, all of them.
    - `half`, `half_floor`: one half of the training windows, and the set or the other half.
    - `test`, `test_floor`: the test windows, and the set or the training windows.
    """
    count = min(len(train), len(synthetic))
    half, held_out = floor_windows(train, synthetic, seed=seed), floor_windows(test, synthetic, train, seed=seed)
    return {
        "train": (train[:count], synthetic[:count]),
        "half": (half.real, half.synthetic),
        "half_floor": (half.real, half.other),
        "test": (held_out.real, held_out.synthetic),
        "test_floor": (held_out.real, held_out.other),
    }


def parts(
    scores: Mapping[ScoreName, Score], named: Mapping[str, Mapping[str, tuple[Unit, Unit]]], finished: Finished
) -> tuple[list[tuple[str, str, ScoreName]], list[Part[Measured]]]:
    """All measurements, for `jaxdiff.finished.run_all`: those of equal windows have one key, so that floors are shared.

    Arguments:
        scores: the scores.
        named: the `comparisons` of each set, by name.
        finished: where they are kept.

    Returns:
        The set, the comparison and the score of each part, and the parts.
    """
    places: list[tuple[str, str, ScoreName]] = []
    made: list[Part[Measured]] = []
    sums: dict[int, str] = {}

    def digest(windows: Unit) -> str:
        return sums.setdefault(id(windows), checksum(windows))

    for name, score in scores.items():
        for own, compared in named.items():
            for kind, (real, other) in compared.items():
                key = key_of("score", name, score.settings, digest(real), digest(other))
                places.append((own, kind, name))
                compute = partial(score.measure, real, other)
                made.append((f"{score.heading}, {own}", key, partial(once_json, finished, key, compute)))
    return places, made
