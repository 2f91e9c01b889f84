"""`jaxdiff evaluate sweep`: the report and the figure show the data, and what does not belong together is refused."""

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from evaluate.__main__ import main
from evaluate.sweep import open_searches, open_sets
from jaxdiff import image_classifier
from jaxdiff._console import plots
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.fairness import Transition
from jaxdiff.process import vp_cosine
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.spaces import Pixels

pytestmark = pytest.mark.usefixtures("small_classifiers")

GROUP = Attribute("group", ("dark", "bright"))


def drawn(count, seed, *, turned=False, labelled=True):
    """Dark and bright images: labelled as they are, all turned, or half of each group of either kind."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    bright = (1 - labels if turned else labels) if labelled else np.arange(count) // 2 % 2
    images = np.where(bright, 170, 85)[:, None, None, None] + rng.normal(0, 10, (count, 16, 16, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


PROVENANCE = {
    "model": "0123456789abcdef",
    "process": vp_cosine().config(),
    "solver": DDIM(4).config(),
    "guidance_scale": 1.0,
    "attribute": "group",
    "values": ["dark", "bright"],
    "method": "switching",
    "seed": 0,
}
CLASSIFIERS = ["--steps", "30", "--batch", "16", "--seeds", "1", "--permutations", "19", "--replicates", "100"]


def made(folder, tau, images, labels, **provenance):
    """A set at tau as the draw program would leave it."""
    place = {"tau": tau, "timestep": round(1000 * tau), "snr": 1.0, "search": "given"} if tau is not None else {}
    description = {**PROVENANCE, **place, **provenance}
    samples = SampleSet.create(folder, description, (GROUP,), labels[:, None].astype(np.int32), Pixels(*images.shape[1:]))
    samples.write(0, images)
    return folder


def search(mode, batch, taus, curve, **context) -> Transition:
    """A search as the search program would write it."""
    best = int(np.argmin(curve))
    known = {name: PROVENANCE[name] for name in ("model", "process", "solver", "guidance_scale", "attribute", "values")}
    searched = {**known, "seed": 0, **context}
    return Transition(
        tau=taus[best], timestep=round(1000 * taus[best]), snr=1.0, mode=mode, taus=taus, curve=curve,
        residual=curve[best] / curve[0], evaluations=60, batch=batch, context=searched,
    )  # fmt: skip


SEARCHES = {
    "batch-4-direct-pixel": search("direct/pixel", 4, (0.0, 0.5, 0.9), (4.0, 3.0, 2.0)),
    "batch-64-direct-pixel": search("direct/pixel", 64, (0.0, 0.5, 0.8), (8.0, 4.0, 2.0)),
    "batch-64-prefix-shared": search("prefix/shared/g2_score/sample", 64, (0.0, 0.5, 1.0), (2.0, 1.0, 3.0)),
}


@pytest.fixture
def evaluated(tmp_path) -> Path:
    """A sweep's folder whose sets are turned at tau 0.1, show nothing at 0.5 and are as labelled at 0.95; and real.npz."""
    images, labels = drawn(200, seed=0)
    np.savez(tmp_path / "real.npz", images=images, labels=labels, attributes=["group"], values_group=list(GROUP.values))
    folder = tmp_path / "sweep"
    made(folder / "tau-0.950", 0.95, *drawn(80, seed=1))
    made(folder / "tau-low", 0.1, *drawn(80, seed=2, turned=True))
    made(folder / "tau-0.500", 0.5, *drawn(80, seed=3, labelled=False))
    (folder / "search").mkdir()
    for name, each in SEARCHES.items():
        (folder / "search" / f"{name}.json").write_text(each.to_json())
    return folder


@pytest.fixture
def evaluate(call_program):
    """Runs `jaxdiff evaluate sweep` on the sweep of `evaluated`; gives its exit status, 0 where it returns."""
    common = ["--real", "real.npz", "--out", "report", *CLASSIFIERS]
    return lambda *given, attribute="group", folder="sweep": call_program(
        main, "evaluate", "sweep", "--sweep", folder, "--attribute", attribute, *common, *given
    )


@pytest.fixture
def figures(monkeypatch) -> dict[str, Figure]:
    """The figures that are saved, by the name of their file."""
    saved, save = {}, Figure.savefig

    def keep(figure, path, **given):
        saved[Path(path).name.removesuffix(".partial")] = figure
        save(figure, path, **given)

    monkeypatch.setattr(Figure, "savefig", keep)
    return saved


def test_an_evaluated_sweep_reports_the_known_measures_at_each_tau(evaluate, evaluated, figures, capsys):
    assert evaluate() == 0, capsys.readouterr()
    report = evaluated.parent / "report"
    written = json.loads((report / "sweep.json").read_text(), parse_constant=pytest.fail)
    assert [each["tau"] for each in written["sets"]] == [0.1, 0.5, 0.95]
    turned, nothing, same = (each["ber"] for each in written["sets"])
    for direction in ("synthetic->real", "real->synthetic"):
        assert turned[direction]["mean"] > 90 and same[direction]["mean"] < 10
    low, high = nothing["real->synthetic"]["interval"]
    assert low < nothing["real->synthetic"]["mean"] < high and 45 <= nothing["real->synthetic"]["mean"] <= 55
    assert turned["synthetic->synthetic"]["mean"] < 10 and same["synthetic->synthetic"]["mean"] < 10
    pixels = [each["energy"]["pixels"] for each in written["sets"]]
    assert pixels[1]["distance"] < 0.1 * written["real"]["energy"]["pixels"]["distance"]
    assert [each["p_value"] <= 0.05 for each in pixels] == [True, False, True]

    # the same numbers as report.json's
    full = json.loads((report / "report.json").read_text())
    for each, result in zip([*written["sets"], written["real"]], [*full["synthetic"], full["real"]], strict=True):
        for direction, summary in result["directions"].items():
            assert each["ber"][direction] == {"mean": summary["ber"], "interval": summary["intervals"]["ber"]}
        for space, tests in result["energy"].items():
            assert each["energy"][space] == {name: tests[0][name] for name in ("distance", "relative", "p_value")}
    assert [each["name"] for each in written["sets"]] == ["tau-low", "tau-0.500", "tau-0.950"]
    assert full["values"] == written["values"] == ["dark", "bright"]

    # the searches, divided by their values at tau = 0: by hand
    assert [(each["mode"], each["batch"]) for each in written["searches"]] == [
        ("direct/pixel", 4), ("direct/pixel", 64), ("prefix/shared/g2_score/sample", 64)
    ]  # fmt: skip
    assert [each["scaled_criterion"] for each in written["searches"]] == [[1, 0.75, 0.5], [1, 0.5, 0.25], [1, 0.5, 1.5]]
    assert [each["residual"] for each in written["searches"]] == [0.5, 0.25, 0.5]
    assert written["phases"]["tau"][0] == pytest.approx(0.5, abs=0.02)  # SNR 1 of the cosine schedule

    # and the figure shows them
    left, middle, right = figures["sweep.png"].axes
    shown = {tuple(line.get_xydata().flatten()) for line in left.lines}
    for each in written["searches"]:
        assert tuple(np.stack([each["taus"], each["scaled_criterion"]], 1).flatten()) in shown
        assert (each["tau"], each["residual"]) in shown
    by_name = {line.get_label(): line.get_ydata() for axes in (middle, right) for line in axes.lines}
    for direction in turned:
        np.testing.assert_array_equal(by_name[direction], [each["ber"][direction]["mean"] for each in written["sets"]])
    np.testing.assert_allclose(
        by_name["pixels"], [each["distance"] / written["real"]["energy"]["pixels"]["distance"] for each in pixels], rtol=1e-12
    )
    white = [line.get_xdata()[0] for line in right.lines if line.get_markerfacecolor() == "white"]
    assert 0.5 in white and not {0.1, 0.95} & set(white)
    with Image.open(report / "sweep.png") as picture:
        assert picture.size[0] > 1000
    assert not list(report.glob("*.partial"))


def test_without_searches_the_panel_says_so(evaluate, evaluated, figures, capsys):
    for file in (evaluated / "search").iterdir():
        file.unlink()
    assert evaluate("--steps", "1") == 0
    assert "no searches in sweep/search" in " ".join(capsys.readouterr().out.split())
    assert json.loads((evaluated.parent / "report" / "sweep.json").read_text())["searches"] == []
    assert [text.get_text() for text in figures["sweep.png"].axes[0].texts] == ["this sweep has no searches"]


def test_larger_batches_are_darker_and_modes_differ_in_colour(figures, tmp_path):
    plots.criterion(tmp_path / "criterion.png", list(SEARCHES.values()), "title", (0.5, 0.9))
    curves = [line for line in figures["criterion.png"].axes[0].lines if len(line.get_xdata()) > 1]
    colour = {tuple(line.get_ydata()): np.array(to_rgb(line.get_color())) for line in curves}
    small, large, other = (colour[curve] for curve in ((1, 0.75, 0.5), (1, 0.5, 0.25), (1, 0.5, 1.5)))
    assert small.mean() > large.mean() + 0.05 and np.abs(large - other).max() > 0.2


def another(folder, name="tau-0.700", tau=0.7, **provenance):
    made(folder / name, tau, *drawn(80, seed=4), **provenance)


OTHER = search("direct/pixel", 4, (0.0, 0.5), (2.0, 1.0), model="fedcba9876543210")


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (partial(another, model="fedcba9876543210"), ["model", "fedcba9876543210", "tau-0.700"]),
        (partial(another, seed=1), ["seed", "tau-0.700"]),
        (partial(another, name="tau-x", tau=None), ["tau-x", "not drawn by switching"]),
        (lambda folder: (folder / "tau-0.500" / "shard-00000.npz").unlink(), ["tau-0.500", "not finished"]),
        (lambda folder: (folder / "tau-0.700").mkdir(), ["tau-0.700", "samples.json"]),
        (lambda folder: (folder / "search" / "odd.json").write_text("{}"), ["odd.json"]),
        (lambda folder: (folder / "search" / "odd.json").write_text(OTHER.to_json()), ["odd.json", "model", "fedcba9876"]),
    ],
)
def test_mixed_or_damaged_sweeps_are_refused(evaluate, evaluated, capsys, break_it, words):
    break_it(evaluated)
    refused(evaluate, evaluated, capsys, words)


@pytest.mark.parametrize(
    ("switched", "words"),
    [("prompt", "prompts of a file.*jaxdiff evaluate prompts"), ("group+age", "combinations of group and age: .*--intersect")],
)
def test_what_real_images_have_no_labels_of_is_refused_with_the_command_to_use(tmp_path, switched, words):
    made(tmp_path / "tau-0.500", 0.5, *drawn(8, seed=0), attribute=switched)
    with pytest.raises(InputError, match=words):
        open_sets(tmp_path, switched)


PROMPTS = {"prompts": ["a man", "a woman"], "negative_prompt": None}
MODIFIERS = {"modifiers": {"interval": [0.1, 1]}}


@pytest.mark.parametrize("prompts", [["a man", "a woman"], ["a boy", "a girl"]])
def test_searches_belong_to_sets_of_the_same_prompts_and_modifiers(tmp_path, prompts):
    """A set has the settings of its guard among its own."""
    images, labels = drawn(8, seed=0)
    made(tmp_path / "tau-0.500", 0.5, images, labels, **PROMPTS, **MODIFIERS, guard="safe", strength=0.3)
    more = {**PROMPTS, **MODIFIERS, "prompts": prompts, "guard": {"guard": "safe", "strength": 0.3}, "seconds": 2.0}
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "one.json").write_text(search("direct/pixel", 4, (0.0, 0.5), (2.0, 1.0), **more).to_json())
    (of_sweep,) = open_sets(tmp_path, "group")
    if prompts == PROMPTS["prompts"]:
        assert [each.tau for each in open_searches(tmp_path, of_sweep)] == [0.5]
    else:
        with pytest.raises(InputError, match=r"one.json and .*tau-0.500.*found for prompts .*boy"):
            open_searches(tmp_path, of_sweep)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"folder": "."}, ["--sweep", "no set tau-*", "jaxdiff sample sweep"]),
        ({"folder": "nowhere"}, ["nowhere", "no set tau-*"]),
        ({"attribute": "age"}, ["--attribute age", "'group'"]),
    ],
)
def test_wrong_input_of_an_evaluation_is_an_error(evaluate, evaluated, capsys, given, words):
    refused(partial(evaluate, **given), evaluated, capsys, words)


def test_options_of_fairness_are_checked(evaluate, evaluated, capsys):
    refused(partial(evaluate, "--seeds", "0"), evaluated, capsys, ["--seeds", "at least 1"])
    refused(partial(evaluate, "--phases", "0.1", "1"), evaluated, capsys, ["phase boundaries"])


def refused(call, evaluated, capsys, words):
    """The program ends with status 2 and one line that has these words, and writes nothing."""
    assert call() == 2
    output = " ".join(capsys.readouterr().err.split())
    for word in words:
        assert word in output
    assert "Traceback" not in output and not (evaluated.parent / "report").exists()


def test_an_interrupted_sweep_trains_nothing_again(evaluate, evaluated, monkeypatch, capsys):
    """Interrupted when its report is written, and its own figure is not."""
    report, quick = evaluated.parent / "report", ("--steps", "1")
    with monkeypatch.context() as patch:
        patch.setattr(plots, "sweep", lambda *_: fail_writing())
        assert evaluate(*quick) == 2
    written = {name: timeless(report / name) for name in ("report.json", "sweep.json")}
    assert len(list((report / "report.parts").iterdir())) > 8
    for name in written:
        (report / name).unlink()
    monkeypatch.setattr(image_classifier, "train_image_classifier", lambda *_, **__: pytest.fail("trained again"))
    assert evaluate(*quick) == 0
    assert {name: timeless(report / name) for name in written} == written
    assert sorted(each.name for each in report.iterdir()) == [
        "report.json",
        "report.md",
        "report.png",
        "sweep.json",
        "sweep.png",
    ]
    assert "resuming: 8 of 8 parts were finished" in capsys.readouterr().err


def timeless(file):
    """The lines of a report without its time."""
    return [line for line in file.read_text().splitlines() if '"seconds":' not in line]


def fail_writing():
    raise OSError("no space left")
