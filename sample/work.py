"""The work of the commands. It imports JAX, so it is loaded only after the options are checked."""

from typing import Any


def search(options: Any) -> None:
    """Searches the transition point."""
    from . import objective
    from . import search as by_criterion

    (objective.search_by_objective if options.command.objective else by_criterion.search)(options.command)


def region(options: Any) -> None:
    """Finds the region of a label."""
    from . import region as finding

    finding.region(options)


def subspace(options: Any) -> None:
    """Finds the subspace of what goes with a label."""
    from . import subspace as finding

    finding.subspace(options)


def draw(options: Any) -> None:
    """Draws the sets, or with --dry-run prints what a batch takes."""
    from . import draw as drawing
    from . import dry_run

    (dry_run.dry_run if options.command.dry_run else drawing.draw)(options.command)


def compare(options: Any) -> None:
    """Draws the sets of a comparison and its picture."""
    from . import compare as comparing

    comparing.compare(options)


def tune(options: Any) -> None:
    """Draws and measures a set with each setting."""
    from . import tune as tuning

    tuning.tune(options)


def sweep(options: Any) -> None:
    """Runs the searches and draws the sets."""
    from . import sweep as sweeping

    sweeping.sweep(options.command)


def edit_model(options: Any) -> None:
    """Edits the weights of a model."""
    from . import edit_model as editing

    editing.edit_model(options)


def attack(options: Any) -> None:
    """Attacks a guarded model."""
    from . import attack as attacking

    attacking.attack(options.command)


def impute(options: Any) -> None:
    """Fills the missing values of a table."""
    from . import impute as imputing

    imputing.impute(options)


def forecast(options: Any) -> None:
    """Continues the series of a table."""
    from . import forecast as forecasting

    forecasting.forecast(options)
