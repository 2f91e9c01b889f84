"""What `jaxdiff evaluate report` takes."""

from dataclasses import dataclass
from pathlib import Path

from jaxdiff.errors import InputError


@dataclass(frozen=True)
class HtmlReport:
    """Makes one HTML page of a verdict: its table, the faces of every set, and one row of faces through tau.

    Reads what `evaluate fairness` wrote, and the sets that it judged. With the folder of a sweep, faces move through tau
    by a slider, whose position a link can name (report.html#tau=0.6). The page holds everything that it shows: it can be
    mailed, read offline and on a phone, and printed.

    For example:

      jaxdiff evaluate report --out report

      jaxdiff evaluate report --fairness out/report --sweep out/sweep --out out/page
    """

    out: Path
    """Folder of the page, report.html; an older page there is replaced."""
    fairness: Path | None = None
    """Folder that `evaluate fairness` wrote; by default --out. Its sets are read by the names that it was given."""
    sweep: Path | None = None
    """Folder of a sweep: the sets tau-*, drawn from the same noise, and, where they are, its figures and its report."""

    def __post_init__(self):
        if self.out.exists() and not self.out.is_dir():
            raise InputError(f"--out must be a folder, {self.out} is a file")
