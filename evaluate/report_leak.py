"""The table of what the images of a set reveal of their labels beyond the feature that defines them."""

from collections.abc import Mapping
from typing import Any

from .formatting import interval, number
from .report_groups import Named, Tables

READING = """\
**Beyond the label.** The best of all classifiers has a BER of at most 100 (1 - r) on a set that shows its label in a share r of
the images. Slack is 100 (1 - r) minus the synthetic->synthetic BER: what the images reveal of their label beyond the feature
that defines it. It is at most 100 (1 - r), 0 if only that feature helps, and negative where the classifiers trained on the set
predict worse than the feature, by sampling error or for lack of images. *Erased* and *masked* are BERs, of classifiers that are
trained and tested on the set and do not see what defines the label: a linear one of features without it, and one of images in
which the pixels that can show it are grey. At chance the rest of the images reveals nothing that they find."""

ERASED, MASKED = "BER, erased", "BER, masked"
"""The headings of the error rates without what defines the label."""
WEIGHTS = {
    "counts": "weighted so that the label is independent of the others together",
    "regression": "weighted by a logistic regression of the label on the others, since some of their combinations lack a label",
    "equal": "as they are, since no other attribute is labelled: what goes with the label in them is removed too",
}
"""What is done with the real images that the erasure is fitted on."""


def tables(named: Named, *, full: bool) -> Tables:
    """Title, header and rows; `full` gives intervals."""
    columns = {
        "slack": lambda result: {"number": result["slack"]["value"], "interval": result["slack"]["interval"]},
        ERASED: lambda result: _error(result, "linear"),
        MASKED: lambda result: _error(result, "masked"),
    }
    measured = [(name, result) for name, result in named if "slack" in result]
    found = {heading: [take(result) for _, result in measured] for heading, take in columns.items()}
    found = {heading: cells for heading, cells in found.items() if any(cells)}
    if measured:
        rows = [[name, *(_cell(cells[i], full) for cells in found.values())] for i, (name, _) in enumerate(measured)]
        yield "beyond the label, in %", ["set", *found], rows


def note(erasure: Mapping[str, Any] | None) -> str:
    """How the erased features were made, and whether they are blind to the label; empty if there are none."""
    if not erasure:
        return ""
    held_out = erasure["held_out"]
    blind = f"{number(held_out['ber'])} {interval(held_out['interval'])} (chance {number(held_out['chance'])})"
    clipped = f", of which {100 * erasure['clipped']:.1f} % limited" if erasure["clipped"] else ""
    answer = (
        f"Erased: {erasure['dimensions']} principal components of the features of the classifiers of "
        f"{', '.join(erasure['classifiers'])}, without what is linear in the label in {erasure['count']} real images "
        f"{WEIGHTS[erasure['weights']]} (effective number {erasure['effective_count']:.0f}{clipped}). On held-out real images, "
        f"weighted in the same way, a linear classifier then has a BER of {blind}."
    )
    if erasure["blind"]:
        return answer
    return f"{answer} They are not blind to the label: an error of a set that is below chance by as little is no leak."


def _error(result: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    leak = (result.get("leak") or {}).get(kind)
    return {"number": leak["ber"], "interval": leak["interval"]} if leak else {}


def _cell(found: Mapping[str, Any], full: bool) -> str:
    return (number(found["number"]) + (f" {interval(found['interval'])}" if full else "")) if found else "-"
