"""Options of `jaxdiff evaluate sweep`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from jaxdiff._console.arguments import CheckedOptions
from jaxdiff.bounds import Bounds, Positive, Share
from jaxdiff.choices import BOUNDARIES, check_boundaries
from jaxdiff.errors import InputError

from .fairness import Fairness

RETAIN = 0.8


@dataclass(frozen=True, kw_only=True)
class Sweep(Fairness):
    """Evaluates the sets of a `jaxdiff sample sweep` as `fairness` does, and compares them with its searches.

    Writes report.json, report.md and report.png, as `fairness` does; sweep.png, the criterion of every search over tau, the
    balanced error rates (bands: 95 % intervals over images) and the energy distance between the groups; and sweep.json, the
    plotted data. With --associated also tradeoff.png, independence and parity against label accuracy at each tau, and the best
    tau among those with enough label accuracy.

    For example:

      jaxdiff evaluate sweep --sweep out/sweep --real embedded --attribute group --out out/sweep/report

      jaxdiff evaluate sweep --sweep out/utkface --real ~/utkface --size 32 --attribute gender
          --value-names gender=male,female --seeds 2 --steps 800 --out out/utkface/report

      jaxdiff evaluate sweep --sweep out/sweep --attribute group --associated all --retain 0.9 --out out/sweep/report
    """

    sweep: Path
    """Folder of the sweep, with its sets tau-* and searches search/*.json."""
    phases: tuple[Positive, Positive] = BOUNDARIES
    """SNR values that separate the noise phases shown in the plot."""
    retain: Share = RETAIN
    """With --associated: minimum label accuracy of the chosen tau, in [0, 1]."""
    synthetic: tyro.conf.Suppress[tuple[str, ...]] = ()
    values: tyro.conf.Suppress[tuple[str, ...]] = ()
    self_check: tyro.conf.Suppress[bool] = False
    repeats: tyro.conf.Suppress[Annotated[int, Bounds(least=0, most=0)]] = 0

    def __post_init__(self):
        # the rest is checked when the sets are known, see `fairness_options`
        CheckedOptions.__post_init__(self)
        check_boundaries(self.phases)
        if self.retain != RETAIN and not self.associated:
            raise InputError("--retain needs --associated, which measures label accuracy")
