"""The work of `jaxdiff sample search` and `jaxdiff sample draw`, by what the options ask for."""

from .draw import Draw
from .search import Search


def search(options: Search) -> None:
    """Searches tau where the criterion is least, or with --objective by what attribute classifiers measure."""
    if options.objective:
        from .objective import search_by_objective

        search_by_objective(options)
    else:
        from .search import search

        search(options)


def draw(options: Draw) -> None:
    """Draws the sets, or with --dry-run says what a batch takes."""
    if options.dry_run:
        from .dry_run import dry_run

        dry_run(options)
    else:
        from .draw import draw

        draw(options)
