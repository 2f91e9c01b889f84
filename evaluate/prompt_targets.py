"""Target shares of the prompts of an evaluation: the same for all, or by concept from the lookup table of Fair Diffusion."""

from collections.abc import Sequence

from jaxdiff.boundary import reading
from jaxdiff.conditions import fair_table
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError

from .options.prompts import PromptSets


def target_shares(options: PromptSets, attribute: Attribute, contexts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    """The target share of each value in each context, in the order of the values.

    With `--fair-table` those of the concept that a context mentions, if it leaves the attribute open; else those of `--target`.

    Arguments:
        options: the options.
        attribute: the attribute, with the values of its classifier.
        contexts: the prompts, or values that stand for them.

    Raises:
        InputError: there are not as many shares as values, the table cannot be read or has other values, or no context has a
            concept of it.
    """
    values = attribute.values
    if options.target and len(options.target) != len(values):
        raise InputError(f"--target takes a share for each of {', '.join(values)}, got {len(options.target)}")
    given = options.target or (1.0,) * len(values)
    targets = dict.fromkeys(contexts, tuple(share / sum(given) for share in given))
    if options.fair_table is None:
        return targets
    found = _of_table(options.fair_table, attribute, contexts)
    return targets | found


def _of_table(name: str, attribute: Attribute, contexts: Sequence[str]) -> dict[str, tuple[float, ...]]:
    fair_table.require_known(name, "--fair-table")
    with reading(name):
        table = fair_table.load(name)
    own = next((each.attribute.values for each in table.texts if each.attribute.name == attribute.name), None)
    if own is None or set(own) != set(attribute.values):
        there = "; ".join(f"{each.attribute.name}: {', '.join(each.attribute.values)}" for each in table.texts)
        raise InputError(
            f"--fair-table {name} must have --attribute {attribute.name} with the values {', '.join(attribute.values)}; it has "
            f"{there}"
        )
    found = {}
    for context in contexts:
        mentions = table.find(context)
        if mentions is not None and attribute.name in mentions.attributes:
            shares = table.concepts[mentions.concept][attribute.name]
            found[context] = tuple(shares[own.index(value)] for value in attribute.values)
    if not found:
        raise InputError(f"--fair-table {name} has a concept of no prompt; its concepts: {', '.join(table.concepts)}")
    return found
