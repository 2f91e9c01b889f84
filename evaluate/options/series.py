"""Options of `jaxdiff evaluate series`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Bounds, Count, Seed, Size
from jaxdiff.errors import InputError

from .checks import require_different, require_folder

ScoreName = Literal["context_fid", "correlational", "discriminative", "predictive", "marginal", "autocorrelation"]
SCORES: tuple[ScoreName, ...] = get_args(ScoreName)


@dataclass(frozen=True, kw_only=True)
class SeriesOrigin(CheckedOptions):
    """Which real series a set or a model is compared with, and how they were split."""

    real: str | None = None
    """Real series: a table, PATH.csv or PATH.parquet with options as in load.csv?time=date&columns=OT,HUFL; `sines`, `mujoco`.
    By default the data that the model was trained on."""
    split: Literal["time", "shuffled"] | None = None
    """How training and test windows are split; by default as the model was trained, or else by time. With `shuffled` nearly
    every test window has a near copy in the training split."""
    test_share: Annotated[float, Bounds(above=0, below=1)] | None = None
    """Share of rows (by time) or windows (shuffled) that are held out; by default as the model was trained, or 0.1."""


@dataclass(frozen=True)
class SeriesSets(SeriesOrigin):
    """Measures how sets of windows of time series differ from real ones: the context-FID, the correlational, discriminative and
    predictive score as in published comparisons, and distances of the values and of the autocorrelation of each feature.

    Each score stands beside its floor, the same score between real windows at the same number of windows. A set is compared

    - with all training windows, as published scores are;

    - with a half of the training windows: the floor is that of the other half;

    - with the test windows: the floor is that of the training windows. A set that is nearer to the training windows than to the
      test windows by more than that repeats its training data, or the data change over time.

    Writes report.json, report.md, report.html (one page with all tables and plots), and the plots pca.png, windows.png,
    autocorrelation.png and marginals.png. Trained encoders and finished scores are kept until the end: run the same command
    again to resume.

    For example:

      jaxdiff evaluate series --sets out/gp out/ddpm --out out/series

      jaxdiff evaluate series --sets out/gp --real "ETTh1.csv?time=date" --split shuffled --out out/shuffled

      jaxdiff evaluate series --sets timegan.npz --real sines --scores context_fid correlational --out out/timegan

      jaxdiff evaluate series --sets out/gp --iterations 100 --repeats 2 --count 1000 --out out/quick
    """

    sets: tuple[str, ...]
    """Sets to evaluate, in the order of the report: sets of samples of series models; .npz with an array `series` (N, L, F); or
    tables, which are cut into windows."""
    out: Path
    """Output folder of the report; an existing report is replaced."""
    scores: tuple[ScoreName, ...] = SCORES
    """Scores to measure."""
    repeats: Size = 5
    """Repeats of each score that trains a network or draws windows, at least 1; the interval is that of their mean."""
    count: Count = 10_000
    """Maximum number of windows used of each set and split; a random subset of larger ones (see --seed)."""
    iterations: Size | None = None
    """Most steps of training of each network of a score. By default those of the papers: 2,000 discriminative, 5,000
    predictive, and 200 or 600 of an encoder. With fewer, scores are not comparable with others."""
    seed: Seed = 0
    """Random seed of the choice of windows, and of the networks of the scores."""

    def __post_init__(self):
        super().__post_init__()
        require_different("--sets", self.sets)
        if not self.scores or len(set(self.scores)) < len(self.scores):
            raise InputError(f"--scores takes one or more different scores, got {' '.join(self.scores) or 'none'}")
        require_folder(self.out)
