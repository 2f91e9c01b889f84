"""`jaxdiff sample`: draws samples from a model."""

from jaxdiff._console import interrupts

if __name__ == "__main__":
    interrupts.end_while_importing()

from functools import partial

from jaxdiff._console.commands import Command, Program

from . import edit_options, table_options, unlabelled_options
from .attack_options import Attack
from .command_line import elsewhere, tables
from .options import Draw, Search, Sweep
from .tune_options import Tune

ABOUT = "Draws fair and safe samples from a trained model: first search the transition point, then draw."
COMMANDS = {
    "search": (Search, "find the transition point of attribute switching"),
    "draw": (Draw, "draw a set of samples with one method"),
    "tune": (Tune, "compare settings of a method, and choose the best"),
    "sweep": (Sweep, "compare the search criteria, and draw sets at many tau"),
    "attack": (Attack, "search for the noise that breaks a guarded model"),
}
OPTIONS = Program(
    "sample",
    __package__,
    ABOUT,
    {
        name: Command(
            about,
            f"command_line:{command.__name__}Options",
            f"work:{name}",
            partial(tables, command),
            partial(elsewhere, command),
        )
        for name, (command, about) in COMMANDS.items()
    }
    | {
        "region": Command(
            "find where in images a label shows", "region_options:Region", "work:region", unlabelled_options.tables
        ),
        "subspace": Command(
            "find the directions of what goes with a label",
            "subspace_options:Subspace",
            "work:subspace",
            unlabelled_options.tables,
        ),
        "impute": Command(
            "fill the missing values of a table of time series", "table_options:Impute", "work:impute", table_options.tables
        ),
        "forecast": Command(
            "continue the time series of a table", "table_options:Forecast", "work:forecast", table_options.tables
        ),
        "edit-model": Command("erase concepts from weights", "edit_options:EditModel", "work:edit_model", edit_options.tables),
        "compare": Command("draw a picture of several defences, prompt by prompt", "compare_options:Compare", "work:compare"),
    },
)
main, start = OPTIONS.main, OPTIONS.start

if __name__ == "__main__":
    start()
