"""Options of `jaxdiff evaluate report`."""

from dataclasses import dataclass
from pathlib import Path

from .checks import require_folder


@dataclass(frozen=True)
class HtmlReport:
    """Writes an HTML page of a report: its tables, the images of each set and, for a sweep, images over tau.

    Reads the report of `jaxdiff evaluate fairness` or `prompts`, or of `safety` with --classifier, and the sets that it
    evaluated. With --sweep a slider moves
    through tau; a link can contain its position (report.html#tau=0.6). The page is a single file, which works offline, on a
    phone and in print.

    For example:

      jaxdiff evaluate report --out report

      jaxdiff evaluate report --fairness out/report --sweep out/sweep --out out/page
    """

    out: Path
    """Output folder of the page, report.html; an existing page is replaced."""
    fairness: Path | None = None
    """Folder of a report of `jaxdiff evaluate fairness`, `prompts` or `safety`, by default --out. Its sets are read from the
    paths stored in it."""
    sweep: Path | None = None
    """Folder of a `jaxdiff sample sweep`: sets tau-* drawn from the same noise and, if present, its figures and report."""

    def __post_init__(self):
        require_folder(self.out)
