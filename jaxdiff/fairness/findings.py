"""Findings: named faults of a synthetic set, derived from its measurements, each with the numbers behind it.

A finding rests on one of two kinds of evidence. Where the null hypothesis is exact (the labels are independent of the images;
the generator depends on the training images no more than on others) there is an exact test; all tests of one set share one
level by Bonferroni's correction, so that a set for which all null hypotheses hold is flagged with at most this probability.
Where it is not (no generator equals the data, so that every difference becomes significant with enough images) there is a
limit, relative to the value of equally many held-out real images. `Limits` holds the level and all limits.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from jaxdiff.defaults import Limits
from jaxdiff.errors import InputError
from jaxdiff.fairness.energy import EnergyTest
from jaxdiff.fairness.evaluation import SetEvaluation
from jaxdiff.fairness.metrics import Summary
from jaxdiff.quality.copies import CopyTest
from jaxdiff.quality.real_comparison import Compared, Fidelity, RealComparison

NAMES = ("independence", "direction", "quality", "diversity", "memorisation", "label")
"""The names of all findings; `label` is a note, the others are flags."""


@dataclass(frozen=True)
class Finding:
    """A fault of a set, or a note.

    Fields:
        name: one of `NAMES`.
        text: a description in one sentence, with the numbers.
        against: the null hypothesis or reference, and the level or limit.
        flag: whether it is a fault; else it is a note.
    """

    name: str
    text: str
    against: str
    flag: bool = True


def find_faults(
    evaluation: SetEvaluation,
    comparison: RealComparison | None = None,
    *,
    values: Sequence[str],
    limits: Limits = Limits(),
) -> tuple[Finding, ...]:
    """The findings on one synthetic set, in the order of `NAMES`; for a fair one at most the note `label`.

    The tests: independence of labels and images, by the predictions of classifiers on images that they were not trained on
    (`chance.chance_test`) and by the energy distance between the groups; and whether the images are nearer to the training
    images than to others. Classifiers trained on the set and tested on real images give no valid test: see `chance_test`. A
    test with too few permutations to reach its share of the level flags nothing.

    Arguments:
        evaluation: of a synthetic set, from `evaluate_fairness`.
        comparison: of its quality with real images; None leaves out quality, diversity and memorisation.
        values: the names of the labels.
        limits: the level of the tests, and the limits.

    Raises:
        InputError: the evaluation of the real images, or another number of values.
    """
    if not evaluation.chance or len(values) != len(evaluation.count):
        raise InputError(
            f"`evaluation` must be of a synthetic set, with as many values as names, "
            f"got {evaluation.name} with {len(evaluation.count)} values and {len(values)} names"
        )
    energies = [(space, pair, test) for space, tests in evaluation.energy.items() for pair, test in tests.items()]
    copy_test = comparison.copies if comparison else None
    tests = 3 + len(energies) + (copy_test is not None)
    level = limits.level / tests
    against = f"random labels; level {limits.level:g}, shared by {tests} tests"

    found = [*_independence(evaluation, energies, values, level, against)]
    independent = not found
    found += _direction(evaluation, level, against, limits, dependent=not independent)
    if comparison:
        found += [*_quality(comparison, values, limits), *_diversity(comparison, limits)]
        found += _memorisation(copy_test, limits, tests)
    if independent:
        rates = " and ".join(f"{_ber(evaluation.directions[d])} ({d})" for d in ("real->synthetic", "synthetic->synthetic"))
        text = f"the images show no significant dependence on their label: BER {rates}, consistent with random labels"
        found.append(Finding("label", text, against, flag=False))
    return tuple(found)


def _independence(
    evaluation: SetEvaluation,
    energies: Sequence[tuple[str, tuple[int, int], EnergyTest]],
    values: Sequence[str],
    level: float,
    against: str,
) -> Iterator[Finding]:
    chance = evaluation.directions["synthetic->synthetic"].mean.chance
    reasons = []
    for direction, trained_on in (("synthetic->synthetic", "half of the set"), ("real->synthetic", "real images")):
        test = evaluation.chance[direction]
        p_value = test.below if direction == "synthetic->synthetic" else min(test.below, test.above)
        if p_value <= level:
            reasons.append(
                f"classifiers trained on {trained_on} have a BER of {_ber(evaluation.directions[direction])} on it "
                f"(p = {p_value:.2g})"
            )
    for space, (a, b), test in energies:
        if test.p_value <= level:
            reasons.append(
                f"the energy distance in {space} of {values[a]} and {values[b]} is {test.distance:.3g} (p = {test.p_value:.2g})"
            )
    if reasons:
        yield Finding("independence", f"the images reveal their label: {'; '.join(reasons)}; chance is {chance:g}", against)


def _direction(evaluation: SetEvaluation, level: float, against: str, limits: Limits, *, dependent: bool) -> Iterator[Finding]:
    by_real, by_set = (evaluation.directions[name] for name in ("real->synthetic", "synthetic->synthetic"))
    chance = by_set.mean.chance
    wrong = evaluation.chance["real->synthetic"].above
    if wrong <= level:
        yield Finding(
            "direction",
            f"classifiers trained on real images are wrong about the label more often than chance: BER {_ber(by_real)} "
            f"(p = {wrong:.2g}); the images show another value than their label",
            against,
        )
    elif dependent:
        # The same classifiers, tested on real images and on the set, at the ends of the intervals least in favour of a flag.
        to_real = evaluation.directions["synthetic->real"]
        noise = 2 * np.nan_to_num(to_real.ber_deviation) / len(to_real.per_seed.ber) ** 0.5
        advantage = chance - by_set.intervals["ber"][1]
        if advantage > 0 and chance - to_real.intervals["ber"][0] + noise < limits.transfer * advantage:
            yield Finding(
                "direction",
                f"what reveals the label in the set does not in real images: classifiers trained on the set have a BER of "
                f"{_ber(by_set)} on it and {_ber(to_real)} on real images (classifiers trained on real images have "
                f"{_ber(by_real)} on the set); labels that are wrong for a part of the images, or coarse features of one group "
                "with fine ones of another",
                f"advantage over chance ({chance:g}) on real images (synthetic->real) below {limits.transfer:g} of that on the "
                "set (synthetic->synthetic), by the ends of the intervals",
            )


def _quality(comparison: RealComparison, values: Sequence[str], limits: Limits) -> Iterator[Finding]:
    of_all = _infidelity(comparison.whole, limits)
    if comparison.frechet.value - comparison.frechet.real > limits.frechet * comparison.spread:
        of_all.append(
            f"Fréchet distance {comparison.frechet.value:.3g} (real images: at most {comparison.frechet.real:.3g}; their "
            f"variance is {comparison.spread:.3g})"
        )
    of_group = {
        value: reasons
        for value, group in zip(values, comparison.groups, strict=True)
        if (reasons := _infidelity(group, limits))
    }
    against = (
        f"held-out real images: below {limits.share:g} of their value, {limits.atypical:.0%} atypical, or {limits.frechet:g} "
        "of their variance above their Fréchet distance"
    )
    if of_group and len(of_group) < len(values):
        for value, reasons in of_group.items():
            yield Finding("quality", f"the images labelled {value} differ from real ones: {'; '.join(reasons)}", against)
    elif of_all or of_group:
        reasons = of_all or [f"{value}: {reason}" for value, reasons in of_group.items() for reason in reasons]
        yield Finding("quality", f"the images differ from real ones: {'; '.join(reasons)}", against)


def _infidelity(fidelity: Fidelity, limits: Limits) -> list[str]:
    """The measures of fidelity that are beyond their limits, in words."""
    reasons = [text for name in ("precision", "density") if (text := _shortfall(name, getattr(fidelity, name), limits))]
    if fidelity.atypical > limits.atypical:
        median = fidelity.roughness
        kind = "rougher" if median.value > median.real else "smoother"
        reasons.append(
            f"{fidelity.atypical:.0%} are {kind} than real ones (median roughness {median.value:.3g} grey levels, of real "
            f"images {median.real:.3g})"
        )
    return reasons


def _shortfall(name: str, compared: Compared, limits: Limits) -> str:
    """A measure that is below its share of the value of real images, in words; empty where it is not, or is NaN."""
    short = compared.value < limits.share * compared.real
    return f"{name} {compared.value:.3f} (real images: {compared.real:.3f})" if short else ""


def _diversity(comparison: RealComparison, limits: Limits) -> Iterator[Finding]:
    reasons = [text for name in ("recall", "coverage") if (text := _shortfall(name, getattr(comparison, name), limits))]
    if comparison.repeated.value - comparison.repeated.real > limits.repeated:
        reasons.append(
            f"{comparison.repeated.value:.1%} nearly repeat another one (real images: {comparison.repeated.real:.1%})"
        )
    if reasons:
        yield Finding(
            "diversity",
            f"the images are less varied than real ones: {'; '.join(reasons)}",
            f"held-out real images: below {limits.share:g} of their value, or {limits.repeated:.0%} more near duplicates",
        )


def _memorisation(test: CopyTest | None, limits: Limits, tests: int) -> Iterator[Finding]:
    reasons = []
    if test is None:
        return
    if test.p_value <= limits.level / tests and test.excess > limits.copied:
        reasons.append(
            f"a training image is the nearest real image to {test.share:.1%}, where {test.expected:.1%} are expected "
            f"(p = {test.p_value:.2g}), which makes about {test.excess:.0%} copies; median distance to a training image "
            f"{test.distance[0]:.3g} grey levels, of held-out real images {test.distance[1]:.3g}"
        )
    if test.near_duplicates[0] - test.near_duplicates[1] > limits.near_duplicates:
        reasons.append(
            f"{test.near_duplicates[0]:.1%} nearly repeat a training image (held-out real images: "
            f"{test.near_duplicates[1]:.1%})"
        )
    if reasons:
        yield Finding(
            "memorisation",
            f"the images are copies of training images: {'; '.join(reasons)}",
            f"held-out real images; level {limits.level:g}, shared by {tests} tests, and more than {limits.copied:.0%} copies; "
            f"or {limits.near_duplicates:.0%} more near duplicates of a training image",
        )


def _ber(summary: Summary) -> str:
    low, high = summary.intervals["ber"]
    return f"{float(summary.mean.ber):.1f} [{low:.1f}, {high:.1f}]"
