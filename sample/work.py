"""What the commands do, once their options are found good: only then is JAX imported."""

from typing import Any


def search(options: Any) -> None:
    """Searches the transition point."""
    from . import objective
    from . import search as by_criterion

    (objective.search_by_objective if options.command.objective else by_criterion.search)(options.command)


def draw(options: Any) -> None:
    """Draws the sets, or says what a batch would take."""
    from . import draw as drawing
    from . import dry_run

    (dry_run.dry_run if options.command.dry_run else drawing.draw)(options.command)


def sweep(options: Any) -> None:
    """Searches and draws over tau."""
    from . import sweep as sweeping

    sweeping.sweep(options.command)
