"""`jaxdiff evaluate fairness --self-check`: known faults are found, and the exit status is 1 if one is missed."""

import json
from functools import partial

import numpy as np
import pytest

from evaluate.__main__ import main
from evaluate.self_check import SelfCheck, false_alarms
from jaxdiff.fairness.controls import ControlSet
from jaxdiff.fairness.findings import Finding

pytestmark = pytest.mark.usefixtures("small_classifiers")

QUICK = ["--batch", "16", "--seeds", "1", "--replicates", "100", "--attribute", "side", "--out", "report", "--no-flip"]
FAULTS = {
    "labels flipped (tau = 0)": {"independence", "direction"},
    "labels unchanged (tau = T)": {"independence"},
    "labels flipped for the darker half": {"independence", "direction"},
    "coarse features of one group, fine ones of the next": {"independence"},
    "labels shuffled": {"label"},
    "one image repeated": {"diversity"},
    "one image repeated, noise added": {"diversity"},
    "few images repeated, noise added": {"diversity"},
    "pure noise": {"quality"},
    "blurred": {"quality"},
    "training images copied": {"memorisation"},
    "one group blurred": {"quality", "independence"},
    "real images split at random": set(),
}


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate")


def lit(path, count=3000, size=16):
    """Images lit on the left or on the right, of random brightness, with random spots."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(count) % 2)
    images = rng.uniform(30, 170, (count, 1, 1, 1)) + rng.normal(0, 4, (count, size, size, 3))
    images += 60 * (np.arange(size)[None, None, :, None] // (size // 2) == labels[:, None, None, None])
    for image, spots in zip(images, rng.integers(0, size - 3, (count, 6, 2)), strict=True):
        for row, column in spots:
            image[row : row + 3, column : column + 3] -= 40
    images = np.clip(images, 0, 255).astype(np.uint8)
    np.savez(path, images=images, labels=labels, attributes=["side"], values_side=["left", "right"])


def test_every_fault_is_found_and_no_fair_set_is_flagged(evaluate, tmp_path, capsys):
    lit(tmp_path / "real.npz")
    status = evaluate("fairness", "--self-check", "--real", "real.npz", "--steps", "120", "--repeats", "1", *QUICK)
    printed = capsys.readouterr().out
    report = json.loads((tmp_path / "report" / "self-check.json").read_text(), parse_constant=pytest.fail)
    found = {case["name"]: {finding["name"] for finding in case["findings"]} for case in report["battery"]}
    assert found.keys() == FAULTS.keys()
    for name, expected in FAULTS.items():
        assert expected <= found[name], printed
    assert found["labels shuffled"] == found["real images split at random"] == {"label"}
    assert status == 0 and all(case["passed"] for case in report["battery"]) and "FAIL" not in printed
    (again,) = report["repeated"]
    assert again["name"] == "real images split at random"
    alarms = report["false_alarms"]["all fair sets"]
    assert alarms["of"] == 3 and alarms["interval"][1] > 0.5
    assert "of 3 flagged" in printed


def test_exit_status_is_1_if_a_fault_is_missed(evaluate, tmp_path, capsys):
    """Classifiers without training predict no labels; the embedded faces also have an ideal fair sampler."""
    arguments = ["--real", "embedded", "--size", "16", "--test-count", "40", "--steps", "1", "--permutations", "19"]
    status = evaluate("fairness", "--self-check", *arguments, *QUICK, "--attribute", "group")
    printed = capsys.readouterr().out
    assert status == 1 and "FAIL" in printed and "ideal fair sampler" in printed and "label kept" in printed
    report = json.loads((tmp_path / "report" / "self-check.json").read_text())
    missed = {case["name"] for case in report["battery"] if not case["passed"]}
    assert "labels flipped (tau = 0)" in missed and "pure noise" not in missed
    assert not report["repeated"]


@pytest.mark.slow
def test_a_killed_self_check_resumes_where_it_was(evaluate, written, resumed, tmp_path):
    """Killed among the classifiers of the control sets, and among the features."""
    lit(tmp_path / "real.npz", 600)
    arguments = ("fairness", "--self-check", "--real", "real.npz", "--test-count", "30", "--steps", "1", *QUICK)
    arguments += ("--permutations", "19", "--replicates", "9")

    def ended(*given):  # with so little training faults are missed
        return evaluate(*given) - 1

    printed = resumed(ended, tmp_path / "report", "self-check.json", arguments, 3, 32)
    sets = 1 + len(FAULTS)
    assert [key.split("-")[0] for key in written] == [*["classifier", "predictions"] * sets, *["features"] * (sets + 1)]
    assert f"resuming: {2 * sets} of {2 * sets} parts were finished (evaluating)" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--self-check", "--synthetic", "real.npz"], "--self-check"),
        (["--self-check", "--repeats", "-1"], "--repeats"),
        (["--synthetic", "real.npz", "--repeats", "3"], "--repeats"),
        (["--self-check", "--no-quality"], "--self-check"),
        (["--self-check"], "48 test images"),
    ],
)
def test_wrong_options_are_errors(evaluate, tmp_path, capsys, arguments, words):
    lit(tmp_path / "real.npz", 60)
    assert evaluate("fairness", "--real", "real.npz", *arguments, *QUICK) == 2
    assert words in capsys.readouterr().err and not (tmp_path / "report").exists()


def test_false_alarms_count_flags_of_fair_sets_only():
    images, labels = np.zeros((2, 3, 3, 3), np.uint8), np.arange(2)
    flag, note = Finding("quality", "", ""), Finding("label", "", "", flag=False)
    fair, fault = (ControlSet(name, images, labels, (), fair=name != "fault") for name in ("fair", "fault"))
    other = ControlSet("other", images, labels, (), fair=True)
    counts = false_alarms(SelfCheck([(fault, (flag,)), (fair, (note,))], [(fair, (flag, note)), (other, ())] * 5))
    assert {name: (each["flagged"], each["of"]) for name, each in counts.items()} == {
        "fair": (5, 6), "other": (0, 5), "all fair sets": (5, 11),
    }  # fmt: skip
    # Clopper and Pearson for none of 5: 1 - (0.025)^(1/5)
    assert counts["other"]["interval"] == pytest.approx([0, 1 - 0.025**0.2])
