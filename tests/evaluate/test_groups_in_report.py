"""Pairs of values, intersections of attributes and shares of values in the report agree with known properties of the images."""

import contextlib
import io
import json
import sys

import numpy as np
import pytest
from scipy.stats import entropy

from evaluate import measures
from evaluate.__main__ import main
from jaxdiff._console.terminal import run
from jaxdiff.data import Attribute
from jaxdiff.fairness.attribute_classifiers import AttributeClassifier
from jaxdiff.fairness.confusion import Confusion
from jaxdiff.image_classifier import ImageClassifier
from tests.evaluate.test_report_page import Page, text

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

TONES = ("dark", "middle", "bright")
LEVELS = np.array([50, 125, 200])
QUICK = ["--steps", "50", "--batch", "24", "--seeds", "1", "--permutations", "9", "--replicates", "200", "--no-flip"]
GROUPS = ["dark, left", "dark, right", "middle, left", "middle, right", "bright, left", "bright, right"]


def drawn(shown, sides, seed):
    """Images of three tones, lit on the left or on the right."""
    rng = np.random.default_rng(seed)
    lit = np.where(np.arange(16)[None, None, :, None] // 8 == sides[:, None, None, None], 40, 0)
    images = LEVELS[shown][:, None, None, None] + lit + rng.normal(0, 8, (len(shown), 16, 16, 3))
    return np.clip(images, 0, 255).astype(np.uint8)


def npz(path, images, tones, sides=None, names=("left", "right")):
    labels = {"labels": tones, "attributes": ["tone"]}
    if sides is not None:
        labels = {"labels": np.stack([tones, sides], 1), "attributes": ["tone", "side"], "values_side": list(names)}
    np.savez(path, images=images, values_tone=list(TONES), **labels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set in which every middle image lit on the left looks bright, and no bright one is lit on the right; with and without
    labels of side.

    In `reordered.npz` the values of side are in the other order.
    """
    path = tmp_path_factory.mktemp("evaluated")
    tones, sides = np.arange(720) % 3, np.arange(720) // 3 % 2
    npz(path / "real.npz", drawn(tones, sides, 0), tones, sides)
    tones, sides = np.arange(240) % 3, np.arange(240) // 3 % 2
    sides[tones == 2] = 0
    images = drawn(np.where((tones == 1) & (sides == 0), 2, tones), sides, 1)
    npz(path / "labelled.npz", images, tones, sides)
    npz(path / "reordered.npz", images, tones, 1 - sides, names=("right", "left"))
    npz(path / "unlabelled.npz", images, tones)
    return path


@pytest.fixture(scope="module")
def printed(folder):
    """The terminal output of the program."""
    shown = io.StringIO()
    sets = [folder / name for name in ("labelled.npz", "reordered.npz", "unlabelled.npz")]
    arguments = [
        "evaluate", "fairness", "--synthetic", *sets, "--real", folder / "real.npz", "--attribute", "tone", "--no-quality",
        "--associated", "all", "--intersect", "side", "--target", "0.25", "0.25", "0.5", "--out", folder / "report", *QUICK,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(shown):
        patched.setattr(sys, "argv", list(map(str, arguments)))
        run(main)
    return shown.getvalue()


@pytest.fixture(scope="module")
def report(folder, printed):
    return json.loads((folder / "report" / "report.json").read_text(), parse_constant=pytest.fail)


@pytest.fixture(scope="module")
def markdown(folder, printed):
    """The rows of each table of report.md, by its title."""
    sections = (folder / "report" / "report.md").read_text().split("\n## ")[1:]
    split = lambda line: [cell.strip() for cell in line.strip("|").split("|")]  # noqa: E731
    return {
        section.splitlines()[0]: [split(line) for line in section.splitlines() if line.startswith("|")] for section in sections
    }


def test_the_confused_pair_of_three_values_is_found(report):
    assert np.allclose(
        report["real"]["directions"]["real->real"]["ber"], 0, atol=1
    )  # the numbers below are exact for such classifiers
    directions = report["synthetic"][0]["directions"]
    for direction, within in (("real->synthetic", 0.1), ("synthetic->synthetic", 4)):
        found = directions[direction]
        folded = np.array(found["pairs"]["folded_ber"], float)
        # of the middle images half look bright, of the bright ones none looks middle
        assert folded[1, 2] == folded[2, 1] == pytest.approx(25, abs=within) and folded[0, 2] == 0
        assert np.isnan(np.diagonal(folded)).all()
        low, high = found["pairs"]["intervals"]["folded_ber"][1][2]
        assert low < folded[1, 2] < high and 5 < high - low < 25
        assert found["pairs"]["mean"] == pytest.approx(np.mean([folded[0, 1], folded[0, 2], folded[1, 2]]))
        assert found["ber"] == pytest.approx(50 / 3, abs=within) and found["chance"] == pytest.approx(200 / 3)
        assert found["worst"]["value"] == "middle" and found["worst"]["error"] == max(found["error"]) == found["gap"]
        assert found["worst"]["interval"] == found["intervals"]["error"][1]


def test_the_tables_have_every_pair_and_the_worst_group(report, markdown, printed):
    result = report["synthetic"][0]["directions"]["real->synthetic"]
    (pairs,) = (rows for title, rows in markdown.items() if title.startswith("pairs of values") and "real->synthetic" in title)
    header, _, real, first, *_ = pairs
    assert header == ["set", "mean", "dark-middle", "dark-bright", "middle-bright"] and real[0] == "Real"
    assert first[0] == "labelled.npz" and first[4].startswith(f"{result['pairs']['folded_ber'][1][2]:.1f} [")
    (errors,) = (rows for title, rows in markdown.items() if title.startswith("real->synthetic") and "chance: 66.7" in title)
    assert errors[0][-1] == "worst" and errors[3][-1].startswith("50.0 [") and errors[3][-1].endswith("] middle")
    assert "pairs of values" in printed and "50.0 middle" in printed and "dark-bright 0.0" in printed
    # a line that begins with the path of a data set is left whole
    assert max(len(line) for line in printed.splitlines() if not line.startswith("/")) <= 80


def test_errors_in_intersections_of_attributes(report):
    result = report["synthetic"][0]["intersections"]
    assert result["groups"] == GROUPS and result["predicted"] == []
    for direction, count in (("real->synthetic", [40, 40, 40, 40, 80, 0]), ("synthetic->synthetic", None)):
        found = result["directions"][direction]
        assert found["rate"] == [0, 0, 100, 0, 0, None] and found["interval"][5] == [None, None]
        assert found["small"] == [each < 30 for each in found["count"]]
        assert count is None or found["count"] == count
    kept = result["retention"]
    assert kept["rate"] == [1, 1, 0, 1, 1, None] and kept["count"] == [40, 40, 40, 40, 80, 0]
    # synthetic->real is tested on real images, which have the group that the set lacks
    real = report["real"]["intersections"]["directions"]["real->real"]
    assert result["directions"]["synthetic->real"]["count"] == real["count"] and min(real["count"]) > 0
    assert sum(real["count"]) == sum(report["real"]["count"]) and set(real["rate"]) == {0}
    assert result["directions"]["synthetic->real"]["rate"][2] > 50


def test_missing_labels_are_predicted_by_a_classifier_as_the_report_notes(report, folder, printed):
    labelled, reordered, unlabelled = (each["intersections"] for each in report["synthetic"])
    assert reordered == labelled
    assert {**unlabelled, "predicted": []} == labelled and unlabelled["predicted"] == [
        "side"
    ]  # the classifier makes no errors here
    accuracies = " / ".join(f"{100 * share:.1f}" for share in report["feature_accuracy"]["side"])
    sentence = (
        "No labels of side in unlabelled.npz: a classifier trained on real images predicts them, with an accuracy by value of "
        f"{accuracies} % (side)"
    )
    assert sentence in (folder / "report" / "report.md").read_text() and sentence in " ".join(printed.split())


def test_empty_groups_are_dashes_and_small_groups_are_marked(report, markdown, printed):
    tables = {title: rows for title, rows in markdown.items() if "in groups of tone x side" in title}
    assert len(tables) == 4
    for title, (header, _, *rows) in tables.items():
        assert (
            header == ["tone x side", "Real", "labelled.npz", "reordered.npz", "unlabelled.npz"]
            and [row[0] for row in rows] == GROUPS
        )
        assert "* fewer than 30" in title
        if "synthetic->real" not in title:
            assert rows[-1][2:] == ["- (0*)"] * 3
        for i, row in enumerate(rows):
            count = report["real"]["intersections"]["directions"]["real->real"]["count"][i]
            assert row[1].endswith(f"({count}{'*' if count < 30 else ''})")
    # the terminal shows the worst of the large groups
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert (
        "labelled.npz middle, left 100.0 40" in lines
        and "labelled.npz middle, left 0.000 40" in lines
        and "Real - - -" in lines
    )


def test_shares_count_what_the_images_show(report, markdown):
    shown, target = np.array([1 / 3, 1 / 6, 1 / 2]), np.array([0.25, 0.25, 0.5])
    for result in report["synthetic"]:
        found = result["shares"]
        np.testing.assert_allclose(found["frequency"], shown, atol=1e-6)
        assert found["target"] == target.tolist() and found["count"] == 240
        assert found["discrepancy"] == pytest.approx(np.linalg.norm(shown - target))
        assert found["pairwise_bias"] == pytest.approx(2 / 9) and found["divergence"] == pytest.approx(entropy(shown, target))
        assert found["within_tolerance"] is False and found["accuracy"] == report["feature_accuracy"]["tone"]
        for share, (low, high) in zip(shown, found["intervals"]["frequency"], strict=True):
            assert low < share < high and high - low == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 240), rel=0.3)
    ((title, rows),) = ((title, rows) for title, rows in markdown.items() if title.startswith("shares of"))
    assert title.startswith("shares of tone (target ") and "BER" not in title
    assert rows[0][2:] == [*TONES, "discrepancy", "pairwise bias", "KL", "within ±4"] and rows[3][-1] == "no"


def classifier_with(values, count):
    return AttributeClassifier(Attribute("tone", values), ImageClassifier(None, None), Confusion(np.array(count)), 1.0)


def test_shares_are_corrected_for_the_confusion_matrix_in_the_order_of_the_report():
    """Two values in the opposite order of the classifier's, by the formula of Rogan and Gladen."""
    classifier = classifier_with(("dark", "bright"), [[90, 10], [30, 70]])
    predicted = np.repeat([0, 1], [60, 40])
    known, confusion = classifier.attribute.values, classifier.confusion
    found = measures.shares(known, confusion, predicted, ("bright", "dark"), (0.3, 0.7), replicates=100, seed=0)
    bright = (0.4 + 0.9 - 1) / (0.7 + 0.9 - 1)
    np.testing.assert_allclose(found["frequency"], [bright, 1 - bright])
    assert found["target"] == [0.3, 0.7] and found["accuracy"] == [0.7, 0.9] and not found["within_tolerance"]
    assert found["discrepancy"] == pytest.approx(np.sqrt(2) * (bright - 0.3))
    even = measures.shares(known, confusion, predicted, ("bright", "dark"), (), replicates=100, seed=0)
    assert even["target"] == [0.5, 0.5] and even["within_tolerance"] and even["intervals"]["within_tolerance"] == [0, 1]


def test_page_shows_pairs_intersections_and_shares(report, folder, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["evaluate", "report", "--out", str(folder / "report")])
    run(main)
    page = Page((folder / "report" / "report.html").read_text())
    heats = {text(page.find("caption", table)[0]): table for table in page.find("table", class_="heat")}
    assert len(heats) == 1 + 3 * 3 and "Real, real → real" in heats
    folded = report["synthetic"][0]["directions"]["real->synthetic"]["pairs"]["folded_ber"]
    cells = [cell for cell in page.find("td", heats["labelled.npz, real → synthetic"]) if "style" in cell[1]]
    below = [folded[1][0], folded[2][0], folded[2][1]]
    assert [text(cell).split("[")[0] for cell in cells] == [f"{each:.1f}" for each in below]
    assert [int(cell[1]["style"].split(":")[1]) for cell in cells] == [round(100 * (1 - each / 50)) for each in below]
    rows = page.find("tr", page.find("table")[0])
    (cells,) = (page.find("td", row) for row in rows if text(row).startswith("labelled.npz"))
    assert text(cells[5]).endswith("50.0 middle")  # the worst group of real->synthetic, after BER and gap
    (section,) = page.find("section", id="intersections")
    tables = page.find("table", section)
    assert len(tables) == 4
    for table in tables[1:]:
        (row,) = (row for row in page.find("tr", table) if text(row).startswith("bright, right"))
        first, *others = page.find("td", row)
        assert "–" not in text(first) and all("–" in text(cell) and "0.0" not in text(cell) for cell in others)
    assert "No labels of side in unlabelled.npz" in text(section) and "tone x side" in text(section)
    (section,) = page.find("section", id="shares")
    assert "independence of the labels" in text(section) and "BER" not in text(section) and "0.167" in text(section)


@pytest.fixture
def refused(call_program, folder, capsys):
    """Runs the program on `labelled.npz`; returns its error after checking for status 2."""

    def refuse(*arguments):
        real = ["--synthetic", folder / "labelled.npz", "--real", folder / "real.npz", "--attribute", "tone", "--out", "report"]
        assert call_program(main, "evaluate", "fairness", *real, *arguments) == 2
        return " ".join(capsys.readouterr().err.split())

    return refuse


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--intersect", "hair"], ["--intersect", "side", "got hair"]),
        (["--intersect", "tone"], ["--intersect", "side", "got tone"]),
        (["--intersect", "side", "side"], ["--intersect", "each once", "side, side"]),
        (["--target", "0.5", "0.2", "0.3"], ["--target", "--associated"]),
        (["--associated", "side", "--target", "0.5", "0.5"], ["--target", "dark, middle, bright", "got 2"]),
        (["--associated", "side", "--target", "0.5", "0.5", "0.5"], ["--target", "add up to 1"]),
        (["--associated", "side", "--target", "-0.5", "0.5", "1"], ["--target", "in [0, 1]"]),
        (
            ["--associated", "side", "--target", "0.5", "0.5", "--values", "dark", "bright"],
            ["--target", "all of them evaluated"],
        ),
    ],
)
def test_wrong_input_is_an_error_before_any_computation(refused, tmp_path, arguments, words):
    error = refused(*arguments)
    assert all(word in error for word in words) and "Traceback" not in error and not (tmp_path / "report").exists()


def test_set_with_other_values_is_an_error(refused, folder, tmp_path):
    tones = np.arange(60) % 3
    npz(tmp_path / "up.npz", drawn(tones, tones % 2, 2), tones, tones % 2, names=("up", "down"))
    error = refused("--synthetic", tmp_path / "up.npz", "--intersect", "side")
    assert "down, up" in error and "left, right" in error and "--intersect side" in error
