"""`jaxdiff evaluate fairness --self-check`: checks that known faults are found and that no fair set is flagged."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from rich import box
from rich.console import Console
from rich.table import Table

from jaxdiff._console.terminal import reported, working
from jaxdiff.errors import InputError
from jaxdiff.fairness.controls import (
    ControlSet,
    cheats_embedded,
    control_sets,
    ideal_embedded,
    label_kept_embedded,
    random_split,
)
from jaxdiff.fairness.evaluation import LabelledImages, evaluate_fairness
from jaxdiff.fairness.findings import Finding, Limits, find_faults
from jaxdiff.finished import Finished
from jaxdiff.image_classifier import ClassifierTraining
from jaxdiff.quality.extractors import ClassifierExtractor, Extractor, FinishedFeatures
from jaxdiff.quality.real_comparison import compare_with_real

from . import findings, measures
from .writing import write_json

COUNT = 1000
"""Maximum number of images of each set."""


@dataclass(frozen=True)
class RealSplits:
    """Disjoint splits of real images.

    Attributes:
        train: training images, which control sets may copy.
        held_out: test images.
        pool: images for the control sets.
        embedded: whether they are the embedded faces, unmodified, for which an ideal fair sampler is known.
    """

    train: LabelledImages
    held_out: LabelledImages
    pool: LabelledImages
    embedded: bool


def real_splits(
    images_of: Callable[[str, int], LabelledImages], *, most: int, known: int, embedded: bool, repeats: int
) -> RealSplits:
    """Splits real images for control sets of at most `COUNT` and at most `most` images each.

    Arguments:
        images_of: returns at most the given number of images of a split, in random order.
        most: the user's limit for the images of a set.
        known: maximum number of training images, at most four times as many as in a set.
        embedded: whether the images are embedded faces; if square RGB images, fair sets are newly generated.
        repeats: number of repeats; if above 0 the pool is as large as possible, so that the sets drawn from it differ.

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
    drawable = embedded and height == width and channels == 3
    train = images_of("train", min(known, 4 * count))
    return RealSplits(train, test.take(order[:held_out]), test.take(order[held_out:]), drawable)


def cases(given: RealSplits, *, values: int, repeats: int, seed: int) -> tuple[list[ControlSet], list[ControlSet]]:
    """The control sets including the fair sets, and further fair sets of other images and labels for each repeat."""
    pool, count = given.pool, min(len(given.held_out.labels), len(given.pool.labels))
    size = pool.images.shape[1]

    def fair(repeat):
        drawn = pool.take(np.random.default_rng([seed, repeat]).permutation(len(pool.labels))[:count])
        yield random_split(drawn.images, drawn.labels, seed=seed + repeat)
        if given.embedded:
            yield ideal_embedded(count, size=size, seed=seed + repeat)

    first = pool.take(np.arange(count))
    battery = [*control_sets(first.images, first.labels, given.train.images, values=values, seed=seed)]
    if given.embedded:
        battery += [label_kept_embedded(count, size=size, seed=seed), *cheats_embedded(count, size=size, seed=seed)]
    return [*battery, *fair(0)], [case for repeat in range(1, 1 + repeats) for case in fair(repeat)]


@dataclass(frozen=True)
class SelfCheck:
    """The result of `check`: each set with its findings.

    Attributes:
        battery: the control sets, each once.
        repeated: the fair sets of the repeats.
    """

    battery: list[tuple[ControlSet, tuple[Finding, ...]]]
    repeated: list[tuple[ControlSet, tuple[Finding, ...]]]

    @property
    def passed(self) -> bool:
        """Whether all sets of the battery pass; false alarms among the repeats are not failures but have a rate."""
        return all(passed(*each) for each in self.battery)


def check(
    given: RealSplits,
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
    finished: Finished,
) -> SelfCheck:
    """Evaluates the control sets like other sets, each separately; the other arguments than `finished`, where finished parts
    are kept, are options of the program.

    Each repeat splits the training and held-out images again, since one unusual split would otherwise affect every repeat.
    """
    battery, repeated = cases(given, values=len(values), repeats=repeats, seed=seed)
    sets = [LabelledImages(case.name, case.images, case.labels) for case in (*battery, *repeated)]
    with reported("evaluating") as report:
        evaluation = evaluate_fairness(
            given.train, given.held_out, sets, values=len(values), seeds=seeds, seed=seed, training=training,
            replicates=replicates, permutations=permutations, finished=finished, progress=report,
        )  # fmt: skip
    extract = FinishedFeatures(extractor or ClassifierExtractor(evaluation.classifier), finished)
    train, held_out = (measures.features(each, extract) for each in (given.train, given.held_out))
    referred = min(2 * len(held_out.labels), len(train.labels) // 2)
    reference = train.features[:referred]
    others = train.take(np.arange(referred, len(train.labels))).concatenated(held_out)

    def compared(some, control, known, own_seed):
        own = [measures.features(each, extract) for each in some]
        return compare_with_real(reference, control, own, values=len(values), train=known, seed=own_seed)

    with working("comparing with real images"):
        measured = [*compared(sets[: len(battery)], held_out, train.images, seed)]
        for i, images in enumerate(sets[len(battery) :]):
            split = np.random.default_rng([seed, i]).permutation(len(others.labels))
            known, control = others.images[split[len(held_out.labels) :]], others.take(split[: len(held_out.labels)])
            measured += compared([images], control, known, seed + i)
    found = [
        (case, find_faults(result, each, values=values, limits=limits))
        for case, result, each in zip((*battery, *repeated), evaluation.synthetic, measured, strict=True)
    ]
    return SelfCheck(found[: len(battery)], found[len(battery) :])


def passed(case: ControlSet, found: Sequence[Finding]) -> bool:
    """Whether all expected faults were found, and a fair set was not flagged."""
    names = {finding.name for finding in found}
    return set(case.expected) <= names and not (case.fair and any(finding.flag for finding in found))


def false_alarms(checked: SelfCheck) -> dict[str, dict[str, Any]]:
    """The rate of flagged fair sets, by name and overall, with 95 % Clopper-Pearson intervals."""
    checked_sets = [*checked.battery, *checked.repeated]
    fair = [(case.name, any(finding.flag for finding in found)) for case, found in checked_sets if case.fair]
    answer = {}
    for name in (*dict.fromkeys(name for name, _ in fair), "all fair sets"):
        flags = [flag for own, flag in fair if name in (own, "all fair sets")]
        ends = scipy.stats.binomtest(sum(flags), len(flags)).proportion_ci(0.95, method="exact")
        counts = {"flagged": sum(flags), "of": len(flags), "rate": sum(flags) / len(flags)}
        answer[name] = counts | {"interval": [float(ends.low), float(ends.high)]}
    return answer


def show(checked: SelfCheck, console: Console) -> None:
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
        for name, counts in false_alarms(checked).items():
            low, high = counts["interval"]
            rate = f"{counts['flagged']} of {counts['of']} flagged, {counts['rate']:.1%} [{low:.1%}, {high:.1%}]"
            console.print(f"{name}: {rate}", highlight=False)


def write(checked: SelfCheck, context: dict[str, Any], folder: Path) -> None:
    """Writes self-check.json atomically."""

    def as_json(checked_sets):
        return [
            {
                "name": case.name, "expected": list(case.expected), "fair": case.fair, "count": len(case.labels),
                "findings": [asdict(finding) for finding in found], "passed": passed(case, found),
            }
            for case, found in checked_sets
        ]  # fmt: skip

    answer = {"battery": as_json(checked.battery), "repeated": as_json(checked.repeated), "false_alarms": false_alarms(checked)}
    write_json(folder / "self-check.json", answer | context)
