"""`evaluate fairness --associated` on embedded faces: error rates without the label, in every form of the report."""

import json
from functools import partial

import numpy as np
import pytest

from evaluate import report_leak
from evaluate.__main__ import main
from jaxdiff.data import embedded
from jaxdiff.fairness import feature_classifiers
from tests.evaluate.test_report_page import Page, rows, text

pytestmark = pytest.mark.usefixtures("small_classifiers")

QUICK = ["--steps", "30", "--batch", "32", "--seeds", "1", "--permutations", "19", "--replicates", "100", "--no-quality"]


@pytest.fixture
def evaluate(call_program, monkeypatch):
    monkeypatch.setattr(feature_classifiers, "FEATURE_COUNT", 400)
    monkeypatch.setattr("evaluate.leak.REAL_COUNT", 600)
    return partial(call_program, main, "evaluate")


def faces(path, **associations):
    """Images with the jaw of their label; of the other attributes those given follow it."""
    parity = dict.fromkeys(embedded.DEFAULT_ASSOCIATIONS, (0.5, 0.5))
    images, labels = embedded.generate(np.arange(240), seed=2**35, associations=parity | associations, size=16)
    np.savez(path, images=images, labels=labels[:, 0], attributes=["group"], values_group=["square", "round"])


def test_erased_and_masked_errors_are_reported(evaluate, tmp_path, capsys):
    faces(tmp_path / "parity.npz")
    faces(tmp_path / "hair.npz", hair=(0.0, 1.0))
    arguments = ["--size", "16", "--test-count", "240", "--associated", "hair", "--out", "report", *QUICK]
    assert evaluate("fairness", "--synthetic", "parity.npz", "hair.npz", "--attribute", "group", *arguments) == 0
    printed = " ".join(capsys.readouterr().out.split())
    report = json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    real, (parity, hair) = report["real"], report["synthetic"]
    for each in (real, parity, hair):
        for found in each["leak"].values():
            assert 0 <= found["interval"][0] <= found["ber"] <= found["interval"][1] <= 100
    # hair that is the label is seen without the jaw, by both, and of all sets best
    for kind in ("linear", "masked"):
        assert hair["leak"][kind]["interval"][1] < 40 < parity["leak"][kind]["interval"][1], (
            kind,
            hair["leak"],
            parity["leak"],
        )
    erasure = report["erasure"]
    assert erasure["classifiers"] == ["group", "hair"] and erasure["count"] == 400 and erasure["dimensions"] == 8
    note = report_leak.note(erasure)
    assert f"BER of {erasure['held_out']['ber']:.1f}" in note and ("not blind" in note) != erasure["blind"]
    assert " ".join(note.split()) in printed
    for heading in (report_leak.ERASED, report_leak.MASKED):
        assert heading in (tmp_path / "report" / "report.md").read_text()
    assert evaluate("report", "--out", "report") == 0
    page = (tmp_path / "report" / "report.html").read_text()
    assert "Erased: 8 principal components" in page
    cells = next([text(cell) for cell in cells] for name, cells in rows(Page(page), 1) if name.startswith("hair.npz"))
    for kind in ("linear", "masked"):
        low, high = hair["leak"][kind]["interval"]
        wanted = f"{hair['leak'][kind]['ber']:.1f} [{low:.1f}, {high:.1f}]"
        assert any(cell.endswith(wanted) for cell in cells)


def test_data_without_other_attributes_say_what_is_erased_too(evaluate, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, count in (("real", 120), ("set", 60)):
        labels = np.arange(count) % 2
        images = np.clip(np.where(labels, 170, 85)[:, None, None, None] + rng.normal(0, 10, (count, 16, 16, 3)), 0, 255)
        np.savez(
            tmp_path / f"{name}.npz", images=images.astype(np.uint8), labels=labels, attributes=["tone"],
            values_tone=["dark", "bright"],
        )  # fmt: skip
    arguments = ["--attribute", "tone", "--associated", "all", "--out", "report", *QUICK]
    assert evaluate("fairness", "--synthetic", "set.npz", "--real", "real.npz", *arguments) == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["erasure"]["weights"] == "equal" and "parity" not in report["real"]
    assert "what goes with the label in them is removed too" in " ".join(capsys.readouterr().out.split())


def test_note_says_where_weights_were_limited_and_features_are_not_blind():
    held_out = {"ber": 41.0, "interval": [38.0, 44.0], "chance": 50.0}
    about = {
        "classifiers": ["group"], "dimensions": 8, "rank": 1, "count": 100, "effective_count": 62.4, "weights": "regression",
        "clipped": 0.021, "held_out": held_out, "blind": False,
    }  # fmt: skip
    note = report_leak.note(about)
    assert "effective number 62, of which 2.1 % limited" in note and "41.0 [38.0, 44.0] (chance 50.0)" in note
    assert "not blind" in note and "some of their combinations lack a label" in note
    assert "not blind" not in report_leak.note(about | {"blind": True}) and report_leak.note(None) == ""
