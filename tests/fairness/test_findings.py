"""Findings report known defects, and keep their significance level where there is none."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from jaxdiff.errors import InputError
from jaxdiff.fairness.chance import chance_test
from jaxdiff.fairness.energy import EnergyTest, energy_test
from jaxdiff.fairness.evaluation import SetEvaluation
from jaxdiff.fairness.findings import NAMES, Limits, find_faults
from jaxdiff.fairness.metrics import summarise
from jaxdiff.quality.copies import CopyTest
from jaxdiff.quality.real_comparison import Compared, Fidelity, RealComparison

VALUES = ("square", "round")
DIRECTIONS = ("synthetic->real", "real->synthetic", "synthetic->synthetic")
LABELS = np.arange(200) % 2


def wrong(rng, percent, seeds=2):
    """Predictions that are wrong for exactly so many percent of the images of each group (100 images)."""
    predictions = np.tile(LABELS, (seeds, 1))
    for row in predictions:
        for value in (0, 1):
            row[rng.choice(np.flatnonzero(value == LABELS), percent, replace=False)] = 1 - value
    return predictions


def set_evaluation(predictions, energies):
    """The evaluation of a set with the predictions of three directions and of energy tests by space."""
    summaries = {
        direction: summarise(each, LABELS, values=2, replicates=200)
        for direction, each in zip(DIRECTIONS, predictions, strict=True)
    }
    tests = {
        direction: chance_test(each, LABELS, values=2)
        for direction, each in zip(DIRECTIONS, predictions, strict=True)
        if direction != "synthetic->real"
    }
    energy = {space: {(0, 1): test} for space, test in energies.items()}
    return SetEvaluation("set", np.array([100, 100]), summaries, {}, {}, energy, tests)


def evaluated(rng, bers, p_value=0.5):
    energy = EnergyTest(0.0, 0.0, p_value, (100, 100), 999)
    return set_evaluation([wrong(rng, ber) for ber in bers], {"pixels": energy, "features": energy})


LIKE = Fidelity(Compared(0.8, 0.85), Compared(0.9, 1.0), 0.01, Compared(50.0, 51.0))
COPIES = CopyTest(0.84, 0.83, 0.05, 0.3, (15.0, 15.0), (0.0, 0.001), (1000, 5000, 1000), 9999)
FAIR = RealComparison(
    LIKE, (LIKE, LIKE), Compared(0.1, 0.2), 30.0, Compared(0.7, 0.75), Compared(0.9, 0.95), Compared(0.01, 0.005), COPIES
)
NOISY = replace(LIKE, atypical=0.99, roughness=Compared(300.0, 50.0))
HOLLOW = replace(LIKE, precision=Compared(0.2, 0.8))


def names(found):
    return tuple(finding.name for finding in found)


@pytest.mark.parametrize(
    ("bers", "p_value", "expected"),
    [
        ((50, 50, 50), 0.5, ("label",)),
        ((5, 5, 5), 0.001, ("independence",)),  # nothing was done
        ((95, 95, 5), 0.001, ("independence", "direction")),  # labels flipped
        ((50, 50, 10), 0.5, ("independence", "direction")),  # half of each group mislabelled
        ((30, 39, 10), 0.001, ("independence", "direction")),  # switched too late for some features, too early for others
        ((5, 38, 6), 0.001, ("independence",)),  # the label kept, other features no longer with it: real classifiers see less
        ((37, 40, 40), 0.5, ("independence",)),  # mixing: every direction alike
        ((50, 50, 50), 0.001, ("independence",)),  # seen by distance alone
        ((50, 60, 50), 0.5, ("independence", "direction")),  # a classifier wrong more often than chance
        ((70, 50, 50), 0.5, ("label",)),  # trained on labels without meaning: a classifier's luck, no test
    ],
)
def test_labels(rng, bers, p_value, expected):
    found = find_faults(evaluated(rng, bers, p_value), values=VALUES)
    assert names(found) == expected
    assert all(finding.flag == (finding.name != "label") for finding in found)


@pytest.mark.parametrize(
    ("changed", "expected", "words"),
    [
        ({}, (), ()),
        ({"whole": NOISY, "groups": (NOISY, NOISY)}, ("quality",), ("the images differ", "99% are rougher", "300")),
        ({"groups": (LIKE, NOISY)}, ("quality",), ("labelled round", "rougher")),
        ({"whole": HOLLOW, "groups": (HOLLOW, LIKE)}, ("quality",), ("labelled square", "precision 0.200 (real", "0.800)")),
        ({"whole": replace(LIKE, density=Compared(0.3, 1.0))}, ("quality",), ("the images differ", "density")),
        ({"frechet": Compared(15.3, 0.2)}, ("quality",), ("Fréchet distance 15.3",)),
        ({"frechet": Compared(15.1, 0.2)}, (), ()),
        ({"recall": Compared(0.3, 0.75)}, ("diversity",), ("recall 0.300",)),
        ({"coverage": Compared(0.4, 0.9)}, ("diversity",), ("coverage",)),
        ({"repeated": Compared(0.2, 0.1)}, ("diversity",), ("20.0% nearly repeat",)),
        ({"repeated": Compared(0.14, 0.1)}, (), ()),
        ({"copies": None}, (), ()),
        ({"copies": replace(COPIES, p_value=1e-4, excess=0.5)}, ("memorisation",), ("about 50% copies",)),
        ({"copies": replace(COPIES, p_value=1e-4)}, (), ()),  # sure, but too little to matter
        ({"copies": replace(COPIES, p_value=0.005, excess=0.5)}, (), ()),  # the level is shared by six tests
        ({"copies": replace(COPIES, near_duplicates=(0.02, 0.001))}, ("memorisation",), ("2.0% nearly repeat",)),
    ],
)
def test_quality_faults_are_reported(rng, changed, expected, words):
    found = find_faults(evaluated(rng, (50, 50, 50)), replace(FAIR, **changed), values=VALUES)
    assert names(found) == (*expected, "label")
    assert all(word in found[0].text for word in words)
    assert list(names(found)) == sorted(names(found), key=NAMES.index)


def test_too_few_images_for_a_score_are_no_fault(rng):
    unknown = replace(LIKE, precision=Compared(np.nan, 0.8), density=Compared(np.nan, np.nan))
    assert names(find_faults(evaluated(rng, (50, 50, 50)), replace(FAIR, groups=(LIKE, unknown)), values=VALUES)) == ("label",)


def test_limits_are_the_callers(rng):
    changed = replace(FAIR, recall=Compared(0.3, 0.75))
    assert names(find_faults(evaluated(rng, (50,) * 3), changed, values=VALUES, limits=Limits(share=0.2))) == ("label",)
    tested = evaluated(rng, (50,) * 3, 0.004)  # five tests share the level
    assert names(find_faults(tested, values=VALUES)) == ("label",)
    assert names(find_faults(tested, values=VALUES, limits=Limits(level=0.02))) == ("independence",)
    for name in ("level", "transfer", "share", "frechet", "atypical", "repeated", "copied", "near_duplicates"):
        for bad in (0.0, -1.0, *([1.0] if name != "frechet" else [])):
            with pytest.raises(InputError, match=name):
                Limits(**{name: bad})


def test_a_set_that_is_independent_of_its_labels_is_flagged_at_most_at_the_level(rng):
    """All tests at once, by simulation: predictions and features that know nothing of the labels."""
    trials, flagged, level = 150, 0, 0.05
    for trial in range(trials):
        predictions = rng.integers(0, 2, (3, 2, 200))
        points = rng.normal(size=(2, 60, 2))
        energies = {s: energy_test(x[:30], x[30:], permutations=199, seed=trial) for s, x in zip("ab", points, strict=True)}
        found = find_faults(set_evaluation(predictions, energies), values=VALUES, limits=Limits(level=level))
        flagged += any(finding.flag for finding in found)
    assert flagged <= binom.ppf(0.999, trials, level)
    assert flagged > 0


def test_other_evaluations_are_refused(rng):
    given = evaluated(rng, (50, 50, 50))
    with pytest.raises(InputError, match="synthetic set"):
        find_faults(replace(given, chance={}), values=VALUES)
    with pytest.raises(InputError, match="names"):
        find_faults(given, values=("a", "b", "c"))
