"""Reports of memorisation: tables on the terminal, memorization.json, memorization.md and closest.png."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from rich.console import Console

from jaxdiff._console.plots import figure
from jaxdiff.safety.duplicates import Duplicates
from jaxdiff.safety.memorization import QUANTILES, Closeness
from jaxdiff.safety.memorization import Memorization as Found
from jaxdiff.spaces import Space
from jaxdiff.writing import write_text

from .formatting import interval, number
from .writing import markdown, markdown_code, markdown_table, print_tables, write_json

PAIRS = 10
"""Closest pairs shown of each set."""
READING = """\
**How to read it.** `r < 1` is the share of images whose distance to the nearest training image, d1, is below alpha times the
mean distance to the nearest n (Carlini et al. 2023). `d1/d2 < 1/3` is the share that is close to a single training image. Some
held-out real images are below these limits too, without any copying: read the *excess* over them, whose interval contains 0 if
a generator reproduces no more than expected by chance. [Brackets] are 95 %: Wilson's interval of a share, Newcombe's of an
excess.

**Limitations.** Distances are between pixels: a shifted or noisy copy is far from its original. If d1 of a set is well above
that of held-out real images at every quantile, its images are rougher than real ones, all training images are about equally
far, and a ratio near 1/alpha says little; a smaller `--size` averages noise out. A small set without an excess does not rule
out rare copies: with none in n images, the true share may be 3/n.

**Membership.** The area under the ROC curve is 0.5 if the loss cannot distinguish training images from held-out ones; 1 % of
the training images are then found at 1 % false positives. This attack is weak: a value near chance does not prove privacy.
Intervals are DeLong's and the bootstrap's."""

READING_OF_SERIES = """\
**How to read it.** Distances are root mean squares over rows and columns, on the scale where the training windows fill [-1,
1]. `r < 1` is the share of windows whose distance to the nearest training window, d1, is below alpha times the mean distance
to the nearest n; `d1/d2 < 1/3` is the share that is close to a single training window. Read the *excess* over held-out
windows, whose interval contains 0 if a generator reproduces no more than expected by chance. [Brackets] are 95 %: Wilson's
interval of a share, Newcombe's of an excess, for independent windows; held-out windows that overlap are not, so that these
intervals are too narrow.

**Limitations.** With a split by time the held-out windows are later ones: where the series changes over time they are farther
from all training windows, without any copying by the generator. With a shuffled split they overlap training windows, so that
they are nearly copies themselves and no control. Windows of a smooth series are near to their own shifts by a row, which
raises r for all. A set without an excess does not rule out rare copies: with none in n windows, the true share may be 3/n."""


@dataclass(frozen=True)
class EvaluatedSet:
    """Images, their distances to training images, and the comparison with the control (None for the control itself)."""

    name: str
    images: Shaped[np.ndarray, "n ..."]
    closeness: Closeness
    found: Found | None


@dataclass(frozen=True)
class MemorizationReport:
    """The content of a report.

    Fields:
        sets: in the order of the report.
        control: held-out real images, as many as in the largest set if available.
        train: name, images and duplicates of the training images.
        risk: positions of the training images at risk.
        attacks: results of `evaluate.membership.attack`; empty without a model.
        context: command, options, versions, machine and seconds.
        space: of all images.
    """

    sets: Sequence[EvaluatedSet]
    control: EvaluatedSet
    train: tuple[str, Shaped[np.ndarray, "m ..."], Duplicates]
    risk: Int[np.ndarray, " k"]
    attacks: Sequence[Mapping[str, Any]]
    context: Mapping[str, Any]
    space: Space


def show(result: MemorizationReport, console: Console) -> None:
    """Prints the tables, narrow enough for 80 columns."""
    print_tables(_tables(result, full=False), console)
    console.print(_sizes(result), highlight=False)


def write(result: MemorizationReport, folder: Path) -> None:
    """Writes memorization.json, memorization.md and closest.png, each atomically."""
    write_json(folder / "memorization.json", as_json(result))
    write_text(folder / "memorization.md", _markdown(result))
    _picture(result, folder / "closest.png")


def as_json(result: MemorizationReport) -> dict[str, Any]:
    """The content of memorization.json."""

    def images(closeness: Closeness) -> dict[str, list]:
        return {name: values.tolist() for name, values in asdict(closeness).items()}

    name, train, duplicates = result.train
    return {
        "train": {
            "name": name,
            "count": len(train),
            "distinct": duplicates.distinct,
            "exact_duplicates": duplicates.exact,
            "duplicates": duplicates.removed,
            "duplicates_within": duplicates.distance,
            "largest_group": duplicates.largest,
        },
        "quantiles": list(QUANTILES),
        "sets": [{"name": each.name, **asdict(each.found), "images": images(each.closeness)} for each in result.sets],
        "held_out": {"name": result.control.name, "images": images(result.control.closeness)},
        "at_risk": result.risk.tolist(),
        "membership": list(result.attacks),
        **result.context,
    }


def _tables(result: MemorizationReport, *, full: bool) -> Iterator[tuple[str, list[str], list[list[str]]]]:
    """Title, header and rows of each table; `full` adds intervals, and held-out images for the size of each set."""
    shown = [level for level in QUANTILES if full or level in (0.01, 0.5)]
    names = ["least" if level == 0 else "median" if level == 0.5 else f"{100 * level:g} %" for level in shown]
    places = [QUANTILES.index(level) for level in shown]
    rows, distances = [], []
    digits = 2 if result.space.image_files else 4  # grey levels, or a share of a range

    def add(name: str, found: Found, real: bool) -> None:
        rows.append([name, str(found.count[real]), *(_real if real else _synthetic)(found, full)])
        of_set = (found.held_out_distance, found.held_out_ratio) if real else (found.distance, found.ratio)
        distances.append([name, *(number(values[place], digits) for values in of_set for place in places)])

    if not full:
        add("real, held out", max((each.found for each in result.sets), key=lambda found: found.count[1]), True)
    for each in result.sets:
        if full:
            add(f"real, for {each.name}", each.found, True)
        add(each.name, each.found, False)
    header = ["set", "n", "r < 1", "excess", "d1/d2 < 1/3", "excess"]
    noun = result.space.noun
    yield f"{noun} that reproduce a training {noun.removesuffix('s')}, % [95 %]", header, rows
    header = ["set", *(f"d1, {name}" for name in names), *(f"r, {name}" for name in names)]
    yield f"distance to the nearest training {noun.removesuffix('s')}, and ratio", header, distances
    if result.attacks:
        rows = [
            [
                f"{attack['t']:g}",
                f"{attack['snr']:.3g}",
                "+".join(map(str, attack["count"])),
                f"{number(attack['auc']['value'], 3)} {interval((attack['auc']['low'], attack['auc']['high']), 3)}",
                f"{number(100 * attack['true_positives'])} "
                f"{interval([100 * end for end in attack['true_positives_interval']])}",
            ]
            for attack in result.attacks
        ]
        header = ["t", "SNR", "n", "AUC", f"found at {100 * result.attacks[0]['false_positives']:g} %"]
        yield "membership attack: training against held-out images (0.5: chance)", header, rows


def _real(found: Found, full: bool) -> list[str]:
    cells = []
    for each in (found.memorised, found.isolated):
        cells += [_share(each.held_out, each.held_out_interval, full), "-"]
    return cells


def _synthetic(found: Found, full: bool) -> list[str]:
    cells = []
    for each in (found.memorised, found.isolated):
        ends = interval([100 * end for end in each.excess_interval])
        cells += [_share(each.share, each.interval, full), f"{number(100 * each.excess)} {ends}" if full else ends]
    return cells


def _share(share: float, ends: Sequence[float], full: bool) -> str:
    return f"{number(100 * share)} {interval([100 * end for end in ends])}" if full else number(100 * share)


def _sizes(result: MemorizationReport) -> str:
    """The numbers of training images, of duplicates and of images at risk."""
    name, train, duplicates = result.train
    options, shared = result.context["options"], max(each.found.shared for each in result.sets)
    noun, unit = result.space.noun, result.space.distance_unit
    left_out = f" {shared} held-out {noun} are training {noun} and were left out." if shared else ""
    mirrored = options["flips"] and result.space.mirrored
    return (
        f"Training {noun}: {len(train)} of {name}, {duplicates.distinct} without duplicates ({duplicates.exact} are equal to "
        f"an earlier one, {duplicates.removed - duplicates.exact} more are within {duplicates.distance:.3g} {unit}; the "
        f"largest group has {duplicates.largest}){', mirror images counted' if mirrored else ''}. "
        f"r = d1 / ({options['alpha']:g} mean of the {options['neighbours']} nearest).{left_out} "
        f"At risk, the nearest to one with r < 1: {len(result.risk)}."
    )


def _markdown(result: MemorizationReport) -> str:
    parts = ["# Memorisation", markdown(_sizes(result))]
    for title, header, rows in _tables(result, full=True):
        parts += [f"## {markdown(title)}", markdown_table(header, rows)]
    origin = f"{markdown_code(result.context['command'])}, {result.context['seconds']} s on {result.context['machine']}."
    reading = READING if result.space.image_files else READING_OF_SERIES
    return "\n\n".join([*parts, "![The closest pairs](closest.png)", reading, origin]) + "\n"


def _picture(result: MemorizationReport, path: Path) -> None:
    """Plots the images with the smallest ratios of each set and of the control, each above its nearest training image."""
    digits = 1 if result.space.image_files else 3
    shown = [*result.sets, EvaluatedSet("real, held out (control)", result.control.images, result.control.closeness, None)]
    with figure(path, len(shown), 1, figsize=(1.2 * PAIRS, 3.0 * len(shown) + 0.3), squeeze=False, layout=None, cut=True) as (
        _,
        axes,
    ):
        for axis, each in zip(axes.flat, shown, strict=True):
            near = each.closeness
            # held-out images at distance 0 are training images, not controls
            chosen = [i for i in np.argsort(near.ratio, kind="stable") if each.found or near.distance[i] > 0][:PAIRS]
            own, twins = (result.space.pictures(images[rows]) for images, rows in
                          ((each.images, chosen), (result.train[1], near.nearest[chosen])))  # fmt: skip
            height, width = own.shape[1:3]
            gap = max(1, width // 16)
            sheet = np.full((2 * height + gap, PAIRS * (width + gap), 3), 255, np.uint8)
            for column, i in enumerate(chosen):
                twin = twins[column]
                left = column * (width + gap)
                sheet[:height, left : left + width] = own[column]
                sheet[height + gap :, left : left + width] = twin[:, ::-1] if near.mirrored[i] else twin
                label = f"r {near.ratio[i]:.2f}  d {near.distance[i]:.{digits}f}{' m' if near.mirrored[i] else ''}"
                place = (left + width / 2 - 0.5, -0.5 - gap / 2)
                axis.text(
                    *place, label, ha="center", va="bottom", fontsize=8, color="#d55e00" if near.ratio[i] < 1 else "black"
                )
            axis.imshow(sheet, interpolation="nearest")
            axis.set_axis_off()
            noun = result.space.noun
            one = noun.removesuffix("s")
            title = f"{each.name}: the closest of {len(each.images)} {noun}; below each, its nearest training {one}"
            axis.set_title(title, fontsize=10, pad=18)
        caption = f"d: root mean square, {result.space.distance_unit}; r: orange below 1"
        caption += "; m: mirrored training image" if result.space.mirrored else ""
        axes[-1, 0].text(0.5, -0.03, caption, transform=axes[-1, 0].transAxes, ha="center", va="top", fontsize=8)
