"""What is wrong with a set, by name: from what was measured of it to findings, each with the numbers behind it.

Two kinds of evidence stand behind a finding. Where chance has a law (the label and the images are independent; the generator
knows no more of the training images than of others) there is an exact test, and all tests of one set share one level by
Bonferroni's correction: a set that is fair in that sense is flagged by them with at most this probability. Where it has none
(no generator is the data, so that every difference becomes certain with enough images) there is a limit, compared with what
real images reach that were held out, and equally many: `Limits` has them all.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxdiff.defaults import Limits
from jaxdiff.errors import InputError
from jaxdiff.fairness.judge import Verdict
from jaxdiff.fairness.metrics import Summary
from jaxdiff.quality.beside_real import BesideReal, Compared, Likeness

NAMES = ("independence", "direction", "quality", "diversity", "memorisation", "label")
"""The findings that there are; `label` is a note, the others are flags."""


@dataclass(frozen=True)
class Finding:
    """Something wrong with a set.

    Fields:
        name: one of `NAMES`.
        text: what is wrong, with its numbers: one plain sentence.
        against: what it was measured against, and the level or limit.
        flag: whether it is a fault; a note only tells what to keep in mind.
    """

    name: str
    text: str
    against: str
    flag: bool = True


def find_faults(
    verdict: Verdict, beside: BesideReal | None = None, *, values: Sequence[str], limits: Limits = Limits()
) -> tuple[Finding, ...]:
    """The findings on one synthetic set, in the order of `NAMES`; none but the note `label` on a fair one.

    Tested: that the label is independent of the images, by the predictions of classifiers on images that they have not seen
    (`chance.chance_test`) and by the energy distance between the groups; that the training images are no nearer than others.
    Classifiers trained on the set and tested on real images test nothing: see `chance_test`. A test that has drawn too few
    permutations to reach its share of the level flags nothing.

    Arguments:
        verdict: of `judge`, on a synthetic set.
        beside: what else was measured of it; None leaves out quality, diversity and memorisation.
        values: the names of the labels.
        limits: when to flag.

    Raises:
        InputError: the verdict on the real images, or another number of values.
    """
    if not verdict.chance or len(values) != len(verdict.count):
        raise InputError(
            f"`verdict` must be on a synthetic set and of as many values as are named, "
            f"got {verdict.name} of {len(verdict.count)} and {len(values)} names"
        )
    energies = [(space, pair, test) for space, tests in verdict.energy.items() for pair, test in tests.items()]
    membership = beside.membership if beside else None
    tests = 3 + len(energies) + (membership is not None)
    share = limits.level / tests
    against = f"labels dealt at random; level {limits.level:g}, shared by {tests} tests"

    found = [*_independence(verdict, energies, values, share, against)]
    independent = not found
    found += _direction(verdict, share, against, limits, told=not independent)
    if beside:
        found += [*_quality(beside, values, limits), *_diversity(beside, limits), *_memorisation(beside, limits, tests)]
    if independent:
        seen = " and ".join(f"{_ber(verdict.directions[d])} ({d})" for d in ("real->synthetic", "synthetic->synthetic"))
        told = f"that the label is seen in the images is not sure: BER {seen}; a coin may do as well"
        found.append(Finding("label", told, against, flag=False))
    return tuple(found)


def _independence(verdict, energies, values, share, against) -> Iterator[Finding]:
    chance = verdict.directions["synthetic->synthetic"].mean.chance
    told = []
    for direction, who in (("synthetic->synthetic", "half of the set"), ("real->synthetic", "real images")):
        test = verdict.chance[direction]
        sides = (test.below,) if direction == "synthetic->synthetic" else (test.below, test.above)
        if min(sides) <= share:
            told.append(
                f"classifiers trained on {who} have a BER of {_ber(verdict.directions[direction])} on it (p = {min(sides):.2g})"
            )
    for space, (a, b), test in energies:
        if test.p_value <= share:
            told.append(
                f"the energy distance in {space} of {values[a]} and {values[b]} is {test.distance:.3g} (p = {test.p_value:.2g})"
            )
    if told:
        yield Finding(
            "independence", f"the label can be told from the images: {'; '.join(told)}; a coin has {chance:g}", against
        )


def _direction(verdict, share, against, limits: Limits, *, told: bool) -> Iterator[Finding]:
    by_real, by_set = (verdict.directions[name] for name in ("real->synthetic", "synthetic->synthetic"))
    chance = by_set.mean.chance
    wrong = verdict.chance["real->synthetic"].above
    if wrong <= share:
        yield Finding(
            "direction",
            f"judges of real images are wrong about the label more often than a coin: BER {_ber(by_real)} (p = {wrong:.2g}); "
            "the images show another value than their label",
            against,
        )
    elif told:
        # The same classifiers, tested on real images and on the set: from the ends of the intervals least in favour of a flag.
        to_real = verdict.directions["synthetic->real"]
        luck = 2 * np.nan_to_num(to_real.ber_deviation) / len(to_real.per_seed.ber) ** 0.5
        known = chance - by_set.intervals["ber"][1]
        if known > 0 and chance - to_real.intervals["ber"][0] + luck < limits.transfer * known:
            yield Finding(
                "direction",
                f"what gives the label away in the set does not in real images: classifiers trained on the set have a BER of "
                f"{_ber(by_set)} on it and {_ber(to_real)} on real images (judges of real images have {_ber(by_real)} on it); "
                "labels that are wrong in a part of the images, or coarse features of one group with fine ones of another",
                f"synthetic->real less than {limits.transfer:g} as far from a coin's {chance:g} as synthetic->synthetic, by "
                "the ends of their intervals",
            )


def _quality(beside: BesideReal, values, limits: Limits) -> Iterator[Finding]:
    wrong: Mapping[str, list[str]] = {"all": _unlike(beside.whole, limits)}
    if beside.frechet.value - beside.frechet.real > limits.frechet * beside.spread:
        wrong["all"].append(
            f"Fréchet distance {beside.frechet.value:.3g} (real images: at most {beside.frechet.real:.3g}; their variance is "
            f"{beside.spread:.3g})"
        )
    of_group = {
        value: reasons for value, group in zip(values, beside.groups, strict=True) if (reasons := _unlike(group, limits))
    }
    against = (
        f"held-out real images: below {limits.share:g} of theirs, {limits.unlike:.0%} unlike, or {limits.frechet:g} of their "
        "variance beyond their Fréchet distance"
    )
    if of_group and len(of_group) < len(values):
        for value, reasons in of_group.items():
            yield Finding("quality", f"the images labelled {value} are unlike real ones: {'; '.join(reasons)}", against)
    elif wrong["all"] or of_group:
        reasons = wrong["all"] or [f"{value}: {reason}" for value, reasons in of_group.items() for reason in reasons]
        yield Finding("quality", f"the images are unlike real ones: {'; '.join(reasons)}", against)


def _unlike(likeness: Likeness, limits: Limits) -> list[str]:
    told = [text for name in ("precision", "density") if (text := _short(name, getattr(likeness, name), limits))]
    if likeness.unlike > limits.unlike:
        median = likeness.roughness
        kind = "rougher" if median.value > median.real else "smoother"
        told.append(
            f"{likeness.unlike:.0%} are {kind} than real ones (median roughness {median.value:.3g} grey levels, of real images "
            f"{median.real:.3g})"
        )
    return told


def _short(name: str, compared: Compared, limits: Limits) -> str:
    """What is told of a share that falls short of real images'; empty where it does not, or is not known."""
    short = compared.value < limits.share * compared.real
    return f"{name} {compared.value:.3f} (real images: {compared.real:.3f})" if short else ""


def _diversity(beside: BesideReal, limits: Limits) -> Iterator[Finding]:
    told = [text for name in ("recall", "coverage") if (text := _short(name, getattr(beside, name), limits))]
    if beside.repeated.value - beside.repeated.real > limits.repeated:
        told.append(f"{beside.repeated.value:.1%} nearly repeat another one (real images: {beside.repeated.real:.1%})")
    if told:
        yield Finding(
            "diversity",
            f"the images are less varied than real ones: {'; '.join(told)}",
            f"held-out real images: below {limits.share:g} of theirs, or {limits.repeated:.0%} more repeated",
        )


def _memorisation(beside: BesideReal, limits: Limits, tests: int) -> Iterator[Finding]:
    test, told = beside.membership, []
    if test is None:
        return
    if test.p_value <= limits.level / tests and test.excess > limits.copied:
        told.append(
            f"a training image is the nearest real image to {test.share:.1%}, where {test.expected:.1%} are expected "
            f"(p = {test.p_value:.2g}), which makes about {test.excess:.0%} copies; median distance to a training image "
            f"{test.distance[0]:.3g} grey levels, of held-out real images {test.distance[1]:.3g}"
        )
    if test.close[0] - test.close[1] > limits.close:
        told.append(f"{test.close[0]:.1%} nearly repeat a training image (held-out real images: {test.close[1]:.1%})")
    if told:
        yield Finding(
            "memorisation",
            f"the images are copies of training images: {'; '.join(told)}",
            f"held-out real images; level {limits.level:g}, shared by {tests} tests, and more than {limits.copied:.0%}; or "
            f"{limits.close:.0%} more that nearly repeat one",
        )


def _ber(summary: Summary) -> str:
    low, high = summary.intervals["ber"]
    return f"{float(summary.mean.ber):.1f} [{low:.1f}, {high:.1f}]"
