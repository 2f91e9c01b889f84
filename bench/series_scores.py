"""Seconds of each score of time series, and what it finds between two sets of one distribution."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SeriesScores:
    """Measures the seconds of each score of time series between two sets of windows of the same process, with its published
    numbers of steps and repeats: those on the clock and those of the processor, compilation included, and the score with its
    interval over the repeats. Encoders are trained anew, once for all sets.

    The windows are of vector autoregressions of order 1, as uniform values in [0, 1].

    Examples:

      taskset -c 0 python -m bench series-scores --windows 3000 --features 7

      taskset -c 0 python -m bench series-scores --windows 3000 --features 28
    """

    windows: int = 3000
    """Number of windows of each set."""
    length: int = 24
    """Time steps of a window."""
    features: int = 7
    """Features of a window."""
    encoders: int = 5
    """Number of encoders of the context-FID."""
    seed: int = 0
    """Random seed of the windows and of the scores."""


def series_scores(options: SeriesScores) -> None:
    """Draws both sets and prints a line for each score as it ends."""
    import time

    import numpy as np
    import scipy

    from jaxdiff._console.terminal import console
    from jaxdiff.quality import series

    rng = np.random.default_rng(options.seed)
    mixing = rng.normal(size=(options.features, options.features)) / np.sqrt(options.features)
    kept = np.linspace(0.3, 0.95, options.features)

    def drawn() -> np.ndarray:
        state, steps = rng.normal(size=(options.windows, options.features)), []
        for _ in range(options.length):
            steps.append(state @ mixing / np.linalg.norm(mixing, axis=0))
            state = kept * state + np.sqrt(1 - kept**2) * rng.normal(size=state.shape)
        return scipy.special.ndtr(np.stack(steps, axis=1)).astype(np.float32)

    real, other = drawn(), drawn()

    def timed(name, score):
        wall, processor = time.perf_counter(), time.process_time()
        found = score()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        repeats = getattr(found, "score", found)
        value = f"{repeats.mean:.4f} ± {repeats.half_width:.4f}" if hasattr(repeats, "half_width") else ""
        console.print(f"{name:32} {wall:7.1f} s, {processor:7.1f} s of the processor   {value}")
        return found

    console.print(f"{options.windows} windows ({options.length}, {options.features}) in each set, seed {options.seed}")
    seed = options.seed
    timed("correlational", lambda: series.correlational_score(real, other, seed=seed))
    timed("marginal", lambda: series.marginal_distances(real, other))
    timed("autocorrelation", lambda: series.autocorrelation_distance(real, other))
    timed("discriminative, 5 repeats", lambda: series.discriminative_score(real, other, seed=seed))
    timed("predictive, 5 repeats", lambda: series.predictive_score(real, other, seed=seed))
    encoders = timed(
        f"training of {options.encoders} encoders", lambda: series.train_encoders(real, repeats=options.encoders, seed=seed)
    )
    timed(f"context-FID, {options.encoders} encoders", lambda: series.context_fid(encoders, real, other))
