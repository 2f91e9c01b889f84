"""What `jaxdiff evaluate sweep` takes."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from jaxdiff.choices import BOUNDARIES, check_boundaries
from jaxdiff.errors import InputError

from .fairness import Fairness

RETAIN = 0.8


@dataclass(frozen=True, kw_only=True)
class Sweep(Fairness):
    """Judges the sets over tau that `jaxdiff sample sweep` drew, as `fairness` does, beside the curves of its searches.

    Writes report.json, report.md and report.png, as `fairness` does; sweep.png, the criterion of every search over tau beside
    the balanced error rates (bands: 95 % intervals over images) and the energy distance between the groups; and sweep.json,
    all that is plotted. With --associated also tradeoff.png, independence and parity at each tau against the labels that are
    kept there, and the best tau among those that keep enough.

    For example:

      jaxdiff evaluate sweep --sweep out/sweep --real embedded --attribute group --out out/sweep/report

      jaxdiff evaluate sweep --sweep out/utkface --real ~/utkface --size 32 --attribute gender
          --value-names gender=male,female --seeds 2 --steps 800 --out out/utkface/report

      jaxdiff evaluate sweep --sweep out/sweep --attribute group --associated all --retain 0.9 --out out/sweep/report
    """

    sweep: Path
    """Folder of the sweep: its sets are tau-*, its searches search/*.json."""
    phases: tuple[float, float] = BOUNDARIES
    """SNR at which the phases of noise meet that the plot shows."""
    retain: float = RETAIN
    """With --associated: the share of labels that a tau must retain to be named as the best."""
    synthetic: tyro.conf.Suppress[tuple[str, ...]] = ()
    values: tyro.conf.Suppress[tuple[str, ...]] = ()
    self_check: tyro.conf.Suppress[bool] = False
    repeats: tyro.conf.Suppress[int] = 0

    def __post_init__(self):
        # the rest is checked where the sets are known, see `judging`
        check_boundaries(self.phases)
        if not 0 <= self.retain <= 1:
            raise InputError(f"--retain takes a share within 0 and 1, got {self.retain}")
        if self.retain != RETAIN and not self.associated:
            raise InputError("--retain is for --associated, which measures what is retained; got none")
