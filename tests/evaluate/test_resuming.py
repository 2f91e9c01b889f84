"""The evaluation programs resume by the same command: nothing finished is computed again, and the report is the same."""

import json
import os
from functools import partial

import numpy as np
import pytest

from evaluate.__main__ import main
from jaxdiff import image_classifier
from jaxdiff._console.parts import Parts
from tests.evaluate.test_evaluate_program import drawn, npz, save_with_sides

# more is run than compiled
pytestmark = pytest.mark.optimized

QUICK = ("--steps", "2", "--seeds", "2", "--replicates", "20")
FAIRNESS = (*QUICK, "--batch", "8", "--permutations", "9", "--attribute", "tone", "--real", "real.npz", "--out", "report")


class Killed(BaseException):
    """Ends a program where it stands."""


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate")


@pytest.fixture
def written(monkeypatch):
    """The keys of the parts that are written, in order; the program is killed before the part at `killed_at`."""

    class Written(list):
        killed_at = None

    keys, write = Written(), Parts.__setitem__

    def counted(parts, key, arrays):
        if len(keys) == keys.killed_at:
            raise Killed
        write(parts, key, arrays)
        keys.append(key)

    monkeypatch.setattr(Parts, "__setitem__", counted)
    return keys


def resumes(evaluate, written, folder, arguments, file, after, capsys):
    """Runs a command undisturbed, and again killed once after so many parts; returns the two reports without their times."""
    assert evaluate(*arguments) == 0
    files = sorted(os.listdir(folder))
    whole, expected = (folder / file).read_text().splitlines(), list(written)
    assert len(set(expected)) == len(expected) and not [name for name in files if name.startswith(".") or "part" in name]
    for name in files:
        (folder / name).unlink()
    written.clear()
    written.killed_at = after
    with pytest.raises(Killed):
        evaluate(*arguments)
    assert len(list(folder.rglob("*.part"))) == after
    written.killed_at = None
    capsys.readouterr()
    assert evaluate(*arguments) == 0
    # all parts of the undisturbed run, each once
    assert written == expected
    assert sorted(os.listdir(folder)) == files
    return [[line for line in each if '"seconds":' not in line] for each in (whole, (folder / file).read_text().splitlines())]


@pytest.mark.parametrize("after", [3, 10])
def test_fairness_resumes(evaluate, written, tmp_path, capsys, after):
    """Killed among the classifiers of the sets, and among those of other attributes."""
    save_with_sides(tmp_path / "real.npz", 200, 0)
    save_with_sides(tmp_path / "a.npz", 40, 1)
    save_with_sides(tmp_path / "b.npz", 40, 2)
    arguments = ("fairness", "--synthetic", "a.npz", "b.npz", "--associated", "side", *FAIRNESS)
    whole, again = resumes(evaluate, written, tmp_path / "report", arguments, "report.json", after, capsys)
    assert whole == again
    kinds = [key.split("-")[0] for key in written]
    assert kinds[:9] == ["classifier", "classifier", "predictions"] * 3 and kinds[-2:] == ["classifier"] * 2
    assert f"resuming: {min(after, 9)} of 9 parts were finished (evaluating)" in capsys.readouterr().err


def test_the_self_check_resumes(evaluate, written, tmp_path, capsys):
    npz(tmp_path / "real.npz", *drawn(600, seed=0))
    arguments = ("fairness", "--self-check", "--repeats", "1", "--test-count", "30", *FAIRNESS, "--seeds", "1")
    status, evaluated = [], evaluate
    # so short a training misses faults
    ended = lambda *given: status.append(evaluated(*given)) or 0  # noqa: E731
    whole, again = resumes(ended, written, tmp_path / "report", arguments, "self-check.json", 20, capsys)
    assert whole == again and status == [1, 1]


def test_safety_resumes(evaluate, written, tmp_path, capsys, monkeypatch):
    save_with_sides(tmp_path / "real.npz", 600, 0)
    npz(tmp_path / "a.npz", *drawn(120, seed=1))
    arguments = ("safety", "--unsafe", "side=left", "--real", "real.npz", "--synthetic", "a.npz", *QUICK, "--out", "report")
    trained, train = [], image_classifier.train_image_classifier
    monkeypatch.setattr(image_classifier, "train_image_classifier", lambda *a, **b: trained.append(1) or train(*a, **b))
    whole, again = resumes(evaluate, written, tmp_path / "report", arguments, "safety.json", 5, capsys)
    assert whole == again
    # two classifiers, one for rejection and one of features, then the rows
    assert [key.split("-")[0] for key in written] == ["classifier"] * 4 + ["row"] * 3
    assert len(trained) == 8
    printed = capsys.readouterr().err
    assert "resuming: 4 of 4 parts were finished (training classifiers)" in printed
    assert "resuming: 1 of" in printed


def test_a_changed_set_gets_no_answer_of_the_old_one(evaluate, written, tmp_path):
    npz(tmp_path / "real.npz", *drawn(200, seed=0))
    arguments = ("fairness", "--synthetic", "a.npz", *FAIRNESS)
    images, labels = drawn(40, seed=1)
    npz(tmp_path / "a.npz", images, labels)
    written.killed_at = 7
    with pytest.raises(Killed):
        evaluate(*arguments)
    old = set(written)
    npz(tmp_path / "a.npz", images, 1 - labels)
    written.clear()
    written.killed_at = None
    assert evaluate(*arguments) == 0
    # only the two classifiers of real images and their test are the same
    assert [key.split("-")[0] for key in written[:3]] == ["classifier", "classifier", "predictions"]
    assert len(old) == 7 and not old & set(written)
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    arguments = (*arguments[:-1], "fresh")
    assert evaluate(*arguments) == 0
    fresh = json.loads((tmp_path / "fresh" / "report.json").read_text())
    assert report["synthetic"] == fresh["synthetic"] and report["real"] == fresh["real"]


def test_a_second_command_into_one_folder_is_refused_before_it_computes(evaluate, written, tmp_path, capsys, monkeypatch):
    npz(tmp_path / "real.npz", *drawn(200, seed=0))
    npz(tmp_path / "a.npz", *drawn(40, seed=1))
    arguments = ("fairness", "--synthetic", "a.npz", *FAIRNESS)
    second, train = [], image_classifier.train_image_classifier

    def trained(*given, **options):
        if not second:
            second.append(None)
            second[0] = evaluate(*arguments)
            assert not written
        return train(*given, **options)

    monkeypatch.setattr(image_classifier, "train_image_classifier", trained)
    assert evaluate(*arguments) == 0
    assert second == [2] and f"is being written by another process ({os.getpid()} on" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "report")) == ["report.json", "report.md", "report.png"]
    assert np.isfinite(json.loads((tmp_path / "report" / "report.json").read_text())["seconds"])
