"""`jaxdiff sample edit-model`: erases concepts from the weights of a text-to-image model."""

from collections.abc import Sequence

from rich import box
from rich.table import Table

from jaxdiff._console.output import claimed
from jaxdiff._console.saved import about, save_once
from jaxdiff._console.terminal import console, significant, working
from jaxdiff.conditions import Prompts
from jaxdiff.conditions import concepts as phrases
from jaxdiff.errors import InputError
from jaxdiff.loading import load
from jaxdiff.safety import Erased, erase

from .edit_options import EditModel


def edit_model(options: EditModel) -> Erased:
    """Edits the model, prints how far prompts moved, and writes the folder; with --dry-run it writes nothing."""
    concepts, given = phrases.read(options.erase), {"towards": options.towards, "preserve": phrases.read(options.preserve)}
    if not concepts:
        raise InputError(f"--erase takes at least one concept, got {', '.join(options.erase) or 'none'}")
    if options.out.resolve() == options.model.resolve():
        raise InputError(f"--out {options.out} is the model; choose another folder")
    if options.dry_run:
        return _edited(options, concepts, given)
    with claimed(options.out, whole=True):
        found = _edited(options, concepts, given)
        with working("writing"):
            save_once(options.out, found.model)
    console.print(f"{about(found.model)}, in {options.out}")
    return found


def _edited(options: EditModel, concepts: Sequence[str], given: dict[str, tuple[str, ...]]) -> Erased:
    with working("reading the model"):
        model = load(options.model)
    if not isinstance(model.conditions, Prompts):
        raise InputError(f"--model takes a text-to-image model, and {options.model} takes no prompts")
    for prompt, end in model.conditions.cut([*concepts, *given["towards"], *given["preserve"]]).items():
        console.print(f"too long for the model, which does not see {end!r}: {prompt}", highlight=False)
    with working("editing"):
        found = erase(model, concepts, **given, method=options.method, **options.settings())
    console.print(_table(found))
    console.print(f"size of the change: {significant(found.size)} of the edited matrices", highlight=False)
    return found


def _table(found: Erased) -> Table:
    """How far the outputs of each prompt moved, and how far those of concepts are from their targets."""
    table = Table(box=box.SIMPLE_HEAD, title="outputs of keys and values, relative distances", title_justify="left")
    table.add_column("prompt", overflow="fold")
    table.add_column("")
    for name in ("moved", "from the target", "before"):
        table.add_column(name, justify="right")
    for change in found.changes:
        distances = (significant(change.moved), *("" if each is None else significant(each) for each in change[3:][::-1]))
        table.add_row(change.prompt or "(empty)", change.role, *distances)
    return table
