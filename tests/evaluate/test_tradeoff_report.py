"""The trade-off over tau: the bound, the choice of tau, and the plots."""

import json
import re
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import tests.evaluate.test_sweep_report as sweeps
from evaluate import tradeoff
from evaluate.__main__ import main
from evaluate.page_tradeoff import Scale
from jaxdiff._console.terminal import run
from jaxdiff.fairness.tradeoff import TradeOff
from tests.evaluate.test_report_page import CHROMIUM, Page, browse, drawn, real, text, written_report

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

TAUS = (0.2, 0.6, 1.0)


@pytest.mark.parametrize("values", [2, 3])
def test_best_classifier_of_random_predictions_is_within_the_bound(values, rng):
    """For random confusion matrices P(prediction j | label i), over all functions of the prediction."""
    for _ in range(50):
        answers = rng.dirichlet(np.ones(values), size=values)
        functions = product(range(values), repeat=values)
        bers = [100 * np.mean([answers[i, np.array(f) != i].sum() for i in range(values)]) for f in functions]
        least = min(min(ber, 100 - ber) for ber in bers) if values == 2 else min(bers)
        line = tradeoff.bound(float(np.trace(answers)) / values, values)
        assert least <= line + 1e-9
        if values == 2:  # the bound is tight
            assert least == pytest.approx(line)


def add_trade_off(rng, result):
    """Adds random label accuracy and parity to a result of report.json."""
    around = lambda middle: [max(0, middle - rng.uniform(0, 0.1)), min(1, middle + rng.uniform(0, 0.1))]  # noqa: E731
    share, differences = rng.uniform(0.4, 0.95), sorted(rng.uniform(0.05, 0.9, 2))
    result["retention"] = {"overall": share, "interval": around(share), "groups": [share, share]}
    result["parity"] = {
        name: {"value": value, "interval": around(value), "floor": 0.01, "critical": 0.02}
        for name, value in zip(("mean", "largest"), differences, strict=True)
    } | {"attributes": {}}
    for summary in result["directions"].values():
        folded = summary["folded_ber"]
        summary["intervals"]["folded_ber"] = [folded - rng.uniform(0, 3), min(50, folded + rng.uniform(0, 3))]


def test_summary_names_the_best_tau_for_each_objective_or_says_there_is_none(rng):
    for _ in range(100):
        points = [TradeOff(tau, *rng.uniform(0, 40, 1), *rng.uniform(0, 1, 2)) for tau in (0.25, 0.5, 0.75)]
        enough = [point for point in points if point.retention >= 0.6]
        found, sentence = tradeoff.chosen(points, 0.6, 2)
        if not enough:
            largest = max(point.retention for point in points)
            assert found == {"independence": None, "parity": None}
            assert "no point has a retention of 0.6" in sentence and f"{largest:.3g}" in sentence
            continue
        independent = min(enough, key=lambda point: point.dependence)
        level = min(enough, key=lambda point: point.disparity)
        assert found == {"independence": independent.setting, "parity": level.setting}
        assert f"tau {independent.setting:.3f} is least dependent, BER {50 - independent.dependence:.1f}" in sentence
        assert f"tau {level.setting:.3f} is nearest to parity, with a largest difference of {level.disparity:.3f}" in sentence
        assert (
            "a label accuracy of at least 60 %" in sentence
            and f"at a label accuracy of {100 * level.retention:.0f} %" in sentence
        )


def lit(images, sides):
    """The images, lit on the left or on the right."""
    half = np.where(np.arange(16)[None, None, :, None] // 8 == sides[:, None, None, None], 40, 0)
    return np.clip(images.astype(int) + half, 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A sweep whose images show the other label at tau 0.1, neither at 0.5, their own at 0.95, where side equals the label."""
    folder = tmp_path_factory.mktemp("swept")
    images, labels = sweeps.drawn(400, seed=0)
    sides = np.arange(400) // 4 % 2
    np.savez(
        folder / "real.npz", images=lit(images, sides), labels=np.stack([labels, sides], 1), attributes=["group", "side"],
        values_group=list(sweeps.GROUP.values), values_side=["left", "right"],
    )  # fmt: skip
    for i, (tau, look) in enumerate({0.1: {"turned": True}, 0.5: {"labelled": False}, 0.95: {}}.items()):
        images, labels = sweeps.drawn(80, seed=i + 1, **look)
        sides = labels if tau == 0.95 else np.arange(80) // 4 % 2
        sweeps.made(folder / "sweep" / f"tau-{tau:.3f}", tau, lit(images, sides), labels)
    return folder


@pytest.fixture(scope="module")
def evaluated(swept):
    """The terminal output of `evaluate sweep`, and the figures that it saves, by name."""
    import contextlib
    import io

    printed, figures, save = io.StringIO(), {}, Figure.savefig

    def keep(figure, path, **given):
        figures[Path(path).name.removesuffix(".partial")] = figure
        save(figure, path, **given)

    arguments = [
        "evaluate", "sweep", "--sweep", swept / "sweep", "--attribute", "group", "--real", swept / "real.npz", "--out",
        swept / "sweep" / "report", *sweeps.CLASSIFIERS, "--steps", "45", "--no-flip", "--no-quality", "--associated", "all",
        "--retain", "0.4",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stdout(printed):
        patched.setattr(sys, "argv", list(map(str, arguments)))
        patched.setattr(Figure, "savefig", keep)
        run(main)
    return printed.getvalue(), figures


def test_sweep_reports_the_trade_off_and_the_best_tau(swept, evaluated):
    report = json.loads((swept / "sweep" / "report" / "report.json").read_text())
    sweep = json.loads((swept / "sweep" / "report" / "sweep.json").read_text(), parse_constant=pytest.fail)
    turned, nothing, same = (each["trade_off"] for each in sweep["sets"])
    kept = [each["retention"]["value"] for each in (turned, nothing, same)]
    np.testing.assert_allclose(kept, [0, 0.5, 1], atol=0.05)
    assert turned["ber"]["value"] < 15 and same["ber"]["value"] < 15 and nothing["ber"]["value"] > 30
    assert same["largest"]["value"] > 0.9 and max(turned["largest"]["value"], nothing["largest"]["value"]) < 0.4
    for each, result in zip(sweep["sets"], report["synthetic"], strict=True):
        found, summary = each["trade_off"], result["directions"]["synthetic->synthetic"]
        assert found["ber"] == {"value": summary["folded_ber"], "interval": summary["intervals"]["folded_ber"]}
        assert found["retention"] == {"value": result["retention"]["overall"], "interval": result["retention"]["interval"]}
        assert found["largest"] == result["parity"]["largest"] and found["mean"] == result["parity"]["mean"]
        assert "pairs" not in summary and "worst" not in summary  # only for more than two values
    assert sweep["chosen"] == {"retain": 0.4, "independence": 0.5, "parity": 0.5}
    assert "Of the tau with a label accuracy of at least 40 %, tau 0.500 is least dependent" in " ".join(evaluated[0].split())
    assert report["synthetic"][0]["shares"]["frequency"] == pytest.approx([0.5, 0.5], abs=0.05)


def test_figure_shows_each_tau_and_the_bound(swept, evaluated):
    sweep = json.loads((swept / "sweep" / "report" / "sweep.json").read_text())
    found = [each["trade_off"] for each in sweep["sets"]]
    left, right = evaluated[1]["tradeoff.png"].axes
    lines = {line.get_label(): line.get_xydata() for axes in (left, right) for line in axes.lines}
    kept = [each["retention"]["value"] for each in found]
    for label, name in (("synthetic->synthetic", "ber"), ("largest difference", "largest"), ("mean difference", "mean")):
        np.testing.assert_array_equal(lines[label], np.stack([kept, [each[name]["value"] for each in found]], 1))
        reference = sweep["real"]["trade_off"]
        expected = [[reference["retention"]["value"], reference[name]["value"]]]
        np.testing.assert_array_equal(lines[f"{label}, real images"], expected)
    line = lines["upper bound for the best classifier"]
    np.testing.assert_allclose(line[:, 1], 100 * np.minimum(line[:, 0], 1 - line[:, 0]))
    for axes in (left, right):
        assert {"0.1", "0.5", "0.95"} <= {note.get_text() for note in axes.texts}
    assert (swept / "sweep" / "report" / "tradeoff.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--associated", "all", "--retain", "1.5"], ["--retain", "1.5"]),
        (["--retain", "0.9"], ["--retain", "--associated"]),
        (["--associated", "hair"], ["--associated", "side", "hair"]),
    ],
)
def test_wrong_input_is_an_error(call_program, swept, tmp_path, capsys, arguments, words):
    place = ["--sweep", swept / "sweep", "--attribute", "group", "--real", swept / "real.npz", "--out", "report"]
    assert call_program(main, "evaluate", "sweep", *place, *arguments) == 2
    printed = capsys.readouterr().err
    assert all(word in printed for word in words) and not (tmp_path / "report").exists()


@pytest.fixture
def page(call_program, tmp_path, rng):
    """A page with the trade-off at every tau of a sweep, and the report of the sweep."""
    real(tmp_path)
    drawn(tmp_path / "vanilla", "vanilla", content=1)
    written_report(tmp_path / "report", ["vanilla"])
    for i, tau in enumerate(TAUS):
        drawn(tmp_path / "sweep" / f"tau-{tau:.3f}", "switching", content=10 + i, tau=tau, timestep=int(1000 * tau), snr=0.5)
    swept = written_report(tmp_path / "sweep" / "report", [f"tau-{tau:.3f}" for tau in TAUS], seed=5)
    for result in (swept["real"], *swept["synthetic"]):
        add_trade_off(rng, result)
    (tmp_path / "sweep" / "report" / "report.json").write_text(json.dumps(swept))
    assert call_program(main, "evaluate", "report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    return Page((tmp_path / "page" / "report.html").read_text()), swept


def read(page, svg, across):
    """Maps coordinates to values by a line through the ticks of an axis."""
    ticks = [tick for tick in page.find("text", svg, class_="tick") if re.fullmatch(r"[\d.]+", text(tick))]
    chosen = [tick for tick in ticks if (tick[1]["text-anchor"] == "middle") == across]
    places = [float(tick[1]["x"]) if across else float(tick[1]["y"]) - 4 for tick in chosen]
    assert len(chosen) >= 3
    return np.poly1d(np.polyfit(places, [float(text(tick)) for tick in chosen], 1))


def test_points_of_the_page_have_the_reported_values(page):
    page, swept = page
    panels = page.find("svg")
    assert len(panels) == 2 and all(svg[1]["aria-label"] for svg in panels)
    for svg, value in zip(
        panels,
        (
            lambda each: each["directions"]["synthetic->synthetic"]["folded_ber"],
            lambda each: each["parity"]["largest"]["value"],
        ),
        strict=True,
    ):
        points = page.find("g", svg, class_="point")
        assert [point[1]["data-frame"] for point in points] == ["0", "1", "2"]
        across, up = (read(page, svg, each) for each in (True, False))
        for point, tau, result in zip(points, TAUS, swept["synthetic"], strict=True):
            circle = page.find("circle", point)[1][1]
            assert across(float(circle["cx"])) == pytest.approx(result["retention"]["overall"], abs=2e-3)
            assert up(float(circle["cy"])) == pytest.approx(value(result), rel=0.02, abs=0.01)
            assert text(page.find("text", point)[0]) == f"{tau:g}"
    (line,) = page.find("polyline", panels[0], class_="bound")
    places = np.array([place.split(",") for place in line[1]["points"].split()], float)
    across, up = read(page, panels[0], True), read(page, panels[0], False)
    share = across(places[:, 0])
    np.testing.assert_allclose(up(places[:, 1]), 100 * np.minimum(share, 1 - share), atol=0.5)


def test_numbers_are_shown_for_each_tau(page):
    page, swept = page
    for frame, result in zip(page.find("div", class_="frame"), swept["synthetic"], strict=True):
        shown = dict(zip(*([text(each) for each in page.find(tag, frame)] for tag in ("dt", "dd")), strict=True))
        low, high = result["retention"]["interval"]
        assert shown["label accuracy"] == f"{result['retention']['overall']:.3f} [{low:.3f}, {high:.3f}]"
        for name in ("largest", "mean"):
            assert shown[f"{name} difference"].startswith(f"{result['parity'][name]['value']:.3f} [")


@pytest.mark.parametrize(("low", "high"), [(0, 1), (0.31, 0.94), (0, 53.2), (0.88, 0.97), (0, 1e-3)])
def test_ticks_are_few_and_round(low, high):
    ticks = Scale(low, high, 0, 1).ticks()
    assert 3 <= len(ticks) <= 7 and low <= min(ticks) + 1e-9 and max(ticks) <= high + 1e-9
    assert all(len(f"{round(tick, 10):g}") <= 6 for tick in ticks)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_slider_and_points_follow_each_other_in_chromium(page, tmp_path):
    file = tmp_path / "page" / "report.html"
    moved = tmp_path / "page" / "moved.html"
    moving = """const current = () => [...document.querySelectorAll(".point.current")];
        const now = () => current().map((point) => point.dataset.frame).join(" ");
        const seen = [now()]; slider.value = 0; slider.dispatchEvent(new Event("input")); seen.push(now());
        document.querySelector('.point[data-frame="2"]').dispatchEvent(new Event("click", { bubbles: true }));
        seen.push(now(), slider.value, location.hash, document.querySelector(".frame.current").dataset.tau);
        document.body.dataset.seen = seen.join("|");"""
    moved.write_text(file.read_text().replace("</body>", f"<script>{moving}</script></body>"))
    dom = Page(browse(f"{moved.as_uri()}#tau=0.6", tmp_path, "--dump-dom"))
    assert dom.find("body")[0][1]["data-seen"] == "1 1|0 0|2 2|2|#tau=1|1"


def test_without_label_accuracy_there_is_no_plot(call_program, page, tmp_path):
    _, swept = page
    for result in swept["synthetic"]:
        del result["retention"], result["parity"]
    (tmp_path / "sweep" / "report" / "report.json").write_text(json.dumps(swept))
    assert call_program(main, "evaluate", "report", "--fairness", "report", "--sweep", "sweep", "--out", "page") == 0
    bare = Page((tmp_path / "page" / "report.html").read_text())
    assert not bare.find("svg") and bare.find("input")
