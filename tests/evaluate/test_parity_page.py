"""The parity curve of several sets: in report.json and the tables, and on the page, where a click shows a point's images."""

import json

import numpy as np
import pytest

from evaluate import parity_curves
from evaluate.__main__ import main
from evaluate.measures import setting
from evaluate.page import PAIRS
from tests.evaluate.test_report_page import CHROMIUM, Page, browse, drawn, pixels, real, text, written_report
from tests.evaluate.test_tradeoff_report import add_trade_off, read

SETS = {"vanilla": (0.9, 0.3, 0.5), "weak": (0.8, 0.2, 0.2), "strong": (0.6, 0.1, 0.3), "worse": (0.7, 0.25, 0.6)}
"""Label accuracy, mean and largest difference of each set: `worse` is dominated, and `strong` by the largest difference too."""
METHODS = {"vanilla": "vanilla", "weak": "switching", "strong": "switching", "worse": "mixing"}


def named():
    return [
        (
            name,
            {
                "name": name,
                "method": METHODS[name],
                "retention": {"overall": kept},
                "parity": {"mean": {"value": mean}, "largest": {"value": largest}},
            },
        )
        for name, (kept, mean, largest) in SETS.items()
    ]


def test_curves_by_hand():
    found = parity_curves.measured(named(), values=2)["parity_curve"]
    assert found["mean"]["front"] == ["strong", "weak", "vanilla"] and found["largest"]["front"] == ["weak", "vanilla"]
    # .4 x .7, then .3 x .1 and .1 x .1; .4 x .5 and .3 x .3
    assert found["mean"]["hypervolume"] == pytest.approx(0.28 + 0.03 + 0.01)
    assert found["largest"]["hypervolume"] == pytest.approx(0.2 + 0.09)
    methods = {"vanilla": 0.4 * 0.7, "switching": 0.3 * 0.8 + 0.1 * 0.1, "mixing": 0.2 * 0.75}
    assert found["mean"]["methods"] == pytest.approx(methods)
    assert found["mean"]["reference"] == {"retention": 0.5, "difference": 1.0}


def test_tables_mark_the_front_and_list_areas():
    sets, areas = parity_curves.tables(named(), values=2)
    assert [row[0] for row in sets[2]] == ["strong", "worse", "weak", "vanilla"]  # by label accuracy
    assert sets[2][0] == ["strong", "switching", "0.600", "0.100 *", "0.300"] and sets[2][2][3:] == ["0.200 *", "0.200 *"]
    assert areas[2] == [
        ["vanilla", "1", "0.280", "0.200"], ["switching", "2", "0.250", "0.240"], ["mixing", "1", "0.150", "0.080"],
        ["all sets", "4", "0.320", "0.290"],
    ]  # fmt: skip
    assert "label accuracy 0.500 and difference 1: at most 0.500" in areas[0]


def test_one_set_or_sets_without_parity_have_no_curve():
    assert parity_curves.measured(named()[:1], values=2) == {} and not list(parity_curves.tables(named()[:1], values=2))
    without = [(name, {key: result[key] for key in ("name", "retention")}) for name, result in named()]
    assert parity_curves.measured(without, values=2) == {} and parity_curves.measured([], values=2) == {}


def test_methods_are_those_of_the_provenance(tmp_path):
    drawn(tmp_path / "a", "switching", content=1)
    drawn(tmp_path / "b", "switching", content=1, start="none")
    assert setting(str(tmp_path / "a")) == {"method": "switching"}
    assert setting(str(tmp_path / "b")) == {"method": "switching from no label"} and setting("faces.npz") == {}


@pytest.fixture
def page(call_program, tmp_path, rng):
    """The page of four sets, of which `worse` is of other noise, and their images."""
    real(tmp_path)
    images = {name: drawn(tmp_path / name, METHODS[name], content=i, seed=int(name == "worse")) for i, name in enumerate(SETS)}
    report = written_report(tmp_path / "report", list(SETS))
    for result in (report["real"], *report["synthetic"]):
        add_trade_off(rng, result)
        if result["name"] in SETS:
            kept, *differences = SETS[result["name"]]
            result["method"] = METHODS[result["name"]]
            result["retention"] |= {"overall": kept, "interval": [kept - 0.03, kept + 0.03]}
            for name, value in zip(("mean", "largest"), differences, strict=True):
                result["parity"][name] |= {"value": value, "interval": [value - 0.02, value + 0.02]}
    report |= parity_curves.measured([(each["name"], each) for each in report["synthetic"]], values=2)
    (tmp_path / "report" / "report.json").write_text(json.dumps(report))
    assert call_program(main, "evaluate", "report", "--fairness", "report", "--out", "page") == 0
    return Page((tmp_path / "page" / "report.html").read_text()), images


def test_points_are_those_of_the_report_and_the_front_is_dotted(page):
    page, _ = page
    (section,) = (each for each in page.find("section") if each[1]["id"] == "parity")
    panels = page.find("svg", section)
    for svg, which in zip(panels, (1, 2), strict=True):
        across, up = (read(page, svg, each) for each in (True, False))
        points = page.find("g", svg, class_="point")
        assert [text(page.find("title", point)[0]) for point in points] == list(SETS)
        for point, numbers in zip(points, SETS.values(), strict=True):
            circle = page.find("circle", point)[1][1]
            assert across(float(circle["cx"])) == pytest.approx(numbers[0], abs=2e-3)
            assert up(float(circle["cy"])) == pytest.approx(numbers[which], abs=5e-3)
        (line,) = page.find("polyline", svg, class_="bound")
        places = np.array([place.split(",") for place in line[1]["points"].split()], float)
        front = [SETS[name] for name in (("strong", "weak", "vanilla") if which == 1 else ("weak", "vanilla"))]
        corners = [(front[0][0], front[0][which])]
        for before, after in zip(front, front[1:], strict=False):
            corners += [(before[0], after[which]), (after[0], after[which])]
        np.testing.assert_allclose(np.stack([across(places[:, 0]), up(places[:, 1])], 1), corners, atol=5e-3)
    assert len(page.find("polyline", panels[0], class_="way")) == 3  # a line for each method


def test_frames_hold_the_images_of_each_point(page):
    page, images = page
    (section,) = (each for each in page.find("section") if each[1]["id"] == "parity")
    frames = page.find("div", section, class_="frame")
    assert [text(page.find("b", frame)[0]) for frame in frames] == list(SETS)
    for frame, (name, (kept, *_)) in zip(frames, SETS.items(), strict=True):
        shown = pixels(page.find("img", frame)[0])
        first = images[name][0]  # the first image is of the first value
        np.testing.assert_array_equal(shown[:8, :8, :3], first)
        assert f"label accuracy{kept:.3f}" in text(frame).replace(" ", "").replace("labelaccuracy", "label accuracy")
        assert ("not from the same noise" in text(frame)) == (name == "worse")
        assert len(page.find("img", frame)) == 2 and shown.shape[1] == PAIRS * 10 - 2
    assert ["current" in frame[1]["class"] for frame in frames] == [True, False, False, False]  # most labels kept


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_a_click_shows_the_images_of_a_point_in_chromium(page, tmp_path):
    file, clicked = tmp_path / "page" / "report.html", tmp_path / "page" / "clicked.html"
    clicking = """const shown = () => [...document.querySelectorAll("#parity .current")].map((each) => each.tagName + " " +
        (each.dataset.frame ?? each.querySelector("b").textContent)).join(", ");
        const seen = [shown()];
        document.querySelector('#parity .point[data-frame="2"]').dispatchEvent(new Event("click", { bubbles: true }));
        seen.push(shown()); document.body.dataset.seen = seen.join("|");"""
    clicked.write_text(file.read_text().replace("</body>", f"<script>{clicking}</script></body>"))
    dom = Page(browse(clicked.as_uri(), tmp_path, "--dump-dom"))
    assert dom.find("body")[0][1]["data-seen"] == "g 0, g 0, DIV vanilla|g 2, g 2, DIV strong"
