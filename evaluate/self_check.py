"""`jaxdiff evaluate fairness --self-check`: checks that known faults are found, and that no fair set is flagged."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from rich import box
from rich.console import Console
from rich.table import Table

from jaxdiff._console.terminal import progress, working
from jaxdiff.errors import InputError
from jaxdiff.fairness.controls import ControlSet, control_sets, ideal_embedded, label_kept_embedded, random_split
from jaxdiff.fairness.evaluation import LabelledImages, evaluate_fairness
from jaxdiff.fairness.findings import Finding, Limits, find_faults
from jaxdiff.image_classifier import ClassifierTraining
from jaxdiff.quality.extractors import ClassifierExtractor, Extractor
from jaxdiff.quality.real_comparison import ImageFeatures, compare_with_real

from . import findings
from .writing import write_json

COUNT = 1000
"""Images of each set, at most."""


@dataclass(frozen=True)
class Material:
    """Real images, all disjoint.

    Attributes:
        train: to train on, and to be copied.
        held_out: to test on.
        pool: to make sets of.
        faces: whether they are the embedded faces as they come, of which an ideal fair sampler is known.
    """

    train: LabelledImages
    held_out: LabelledImages
    pool: LabelledImages
    faces: bool


def material(images_of: Callable[[str, int], LabelledImages], *, most: int, known: int, faces: bool, repeats: int) -> Material:
    """Real images for sets of at most `COUNT`, or `most`, images each.

    Arguments:
        images_of: gives at most so many images of a split, in a random order.
        most: the user's limit to the images of a set.
        known: training images, for copies and their test, at most; not more than four times a set's.
        faces: whether the images are embedded faces; of square RGB images fair sets are drawn anew.
        repeats: with any, the pool is as large as may be, so that the sets drawn of it differ.

    Raises:
        InputError: too few test images.
    """
    count = min(COUNT, most)
    test = images_of("test", 10 * count if repeats else 2 * count)
    held_out = min(count, len(test.labels) // 2)
    if held_out < 24:
        raise InputError(f"--self-check needs 48 test images or more, {test.name} gives {len(test.labels)}")
    order = np.arange(len(test.labels))
    _, height, width, channels = test.images.shape
    drawable = faces and height == width and channels == 3
    train = images_of("train", min(known, 4 * count))
    return Material(train, test.take(order[:held_out]), test.take(order[held_out:]), drawable)


def cases(given: Material, *, values: int, repeats: int, seed: int) -> tuple[list[ControlSet], list[ControlSet]]:
    """The battery with the fair sets, and those again for each repeat, of other images and labels."""
    pool, count = given.pool, min(len(given.held_out.labels), len(given.pool.labels))
    size = pool.images.shape[1]

    def fair(repeat):
        drawn = pool.take(np.random.default_rng([seed, repeat]).permutation(len(pool.labels))[:count])
        yield random_split(drawn.images, drawn.labels, seed=seed + repeat)
        if given.faces:
            yield ideal_embedded(count, size=size, seed=seed + repeat)

    first = pool.take(np.arange(count))
    battery = [*control_sets(first.images, first.labels, given.train.images, values=values, seed=seed)]
    if given.faces:
        battery.append(label_kept_embedded(count, size=size, seed=seed))
    return [*battery, *fair(0)], [case for repeat in range(1, 1 + repeats) for case in fair(repeat)]


@dataclass(frozen=True)
class Checked:
    """The answer of `check`: each set with what was found of it.

    Attributes:
        battery: the control sets, each once.
        repeated: fair sets again.
    """

    battery: list[tuple[ControlSet, tuple[Finding, ...]]]
    repeated: list[tuple[ControlSet, tuple[Finding, ...]]]

    @property
    def passed(self) -> bool:
        """Whether the battery holds; false alarms among the repeats have a rate and are no failure."""
        return all(passed(*each) for each in self.battery)


def check(
    given: Material,
    *,
    values: Sequence[str],
    repeats: int,
    limits: Limits,
    seeds: int,
    training: ClassifierTraining,
    extractor: Extractor | None,
    permutations: int,
    replicates: int,
    seed: int,
) -> Checked:
    """Evaluates the control sets like any sets, each on its own; arguments as the program's options.

    Each repeat splits the training and held-out images again: fair sets depend on neither, and one unlucky split would
    otherwise count in every repeat.
    """
    battery, repeated = cases(given, values=len(values), repeats=repeats, seed=seed)
    sets = [LabelledImages(case.name, case.images, case.labels) for case in (*battery, *repeated)]
    with progress("evaluating", (len(sets) + 1) * (seeds + 1)) as advance:
        judgement = evaluate_fairness(
            given.train, given.held_out, sets, values=len(values), seeds=seeds, seed=seed, training=training,
            replicates=replicates, permutations=permutations, progress=lambda note, done, _: advance(min(done, 1), note=note),
        )  # fmt: skip
    extract = extractor or ClassifierExtractor(judgement.classifier)
    train, held_out = (
        ImageFeatures(each.images, extract(each.images).astype(np.float64), each.labels)
        for each in (given.train, given.held_out)
    )
    referred = min(2 * len(held_out.labels), len(train.labels) // 2)
    reference = train.features[:referred]
    others = train.take(np.arange(referred, len(train.labels))).concatenated(held_out)

    def compared(some, beside, known, own_seed):
        own = [ImageFeatures(case.images, extract(case.images).astype(np.float64), case.labels) for case in some]
        return compare_with_real(reference, beside, own, values=len(values), train=known, seed=own_seed)

    with working("comparing with real images"):
        measured = [*compared(battery, held_out, train.images, seed)]
        for i, case in enumerate(repeated):
            split = np.random.default_rng([seed, i]).permutation(len(others.labels))
            known, beside = others.images[split[len(held_out.labels) :]], others.take(split[: len(held_out.labels)])
            measured += compared([case], beside, known, seed + i)
    found = [
        (case, find_faults(verdict, each, values=values, limits=limits))
        for case, verdict, each in zip((*battery, *repeated), judgement.synthetic, measured, strict=True)
    ]
    return Checked(found[: len(battery)], found[len(battery) :])


def passed(case: ControlSet, found: Sequence[Finding]) -> bool:
    """Whether the findings have all that the case must have, and no flag where it is fair."""
    names = {finding.name for finding in found}
    return set(case.expected) <= names and not (case.fair and any(finding.flag for finding in found))


def false_alarms(checked: Checked) -> dict[str, dict[str, Any]]:
    """By name of the fair sets, and for all of them: how many are flagged, of how many, with Clopper and Pearson's 95 %."""
    judged = [*checked.battery, *checked.repeated]
    fair = [(case.name, any(finding.flag for finding in found)) for case, found in judged if case.fair]
    answer = {}
    for name in (*dict.fromkeys(name for name, _ in fair), "all fair sets"):
        flags = [flag for own, flag in fair if name in (own, "all fair sets")]
        ends = scipy.stats.binomtest(sum(flags), len(flags)).proportion_ci(0.95, method="exact")
        told = {"flagged": sum(flags), "of": len(flags), "rate": sum(flags) / len(flags)}
        answer[name] = told | {"interval": [float(ends.low), float(ends.high)]}
    return answer


def show(checked: Checked, console: Console) -> None:
    """Prints a row for each set of the battery, and with repeats the rate of false alarms."""
    table = Table(
        title="self-check", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False
    )
    for name in ("set", "must be found", "found", ""):
        table.add_column(name, overflow="fold")
    for case, found in checked.battery:
        must = ", ".join([*case.expected, *(["no flag"] if case.fair else [])])
        table.add_row(case.name, must, findings.names(found), "pass" if passed(case, found) else "FAIL")
    console.print(table)
    if checked.repeated:
        for name, told in false_alarms(checked).items():
            low, high = told["interval"]
            rate = f"{told['flagged']} of {told['of']} flagged, {told['rate']:.1%} [{low:.1%}, {high:.1%}]"
            console.print(f"{name}: {rate}", highlight=False)


def write(checked: Checked, context: dict[str, Any], folder: Path) -> None:
    """Writes self-check.json, whole or not at all."""

    def told(judged):
        return [
            {
                "name": case.name, "expected": list(case.expected), "fair": case.fair, "count": len(case.labels),
                "findings": [asdict(finding) for finding in found], "passed": passed(case, found),
            }
            for case, found in judged
        ]  # fmt: skip

    answer = {"battery": told(checked.battery), "repeated": told(checked.repeated), "false_alarms": false_alarms(checked)}
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "self-check.json", answer | context)
