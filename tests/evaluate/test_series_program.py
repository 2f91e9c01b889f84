"""`jaxdiff evaluate series`: its numbers are those of the library, it sees what differs, and it resumes."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evaluate import series_data, series_plots
from evaluate.__main__ import main
from jaxdiff.data import Attribute, load_arrays
from jaxdiff.data.series import open_series
from jaxdiff.quality import series as quality
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels, Series

REAL = "sines?count=90&length=8&features=2"
"""60 training and 30 test windows, so that every comparison is of 30 windows and compiles one program."""
SPLIT = ("--real", REAL, "--test-share", "0.3333")
QUICK = ("--iterations", 4, "--repeats", 2)
FREE = ("--scores", "correlational", "marginal", "autocorrelation")
"""Scores that train nothing."""


@pytest.fixture(autouse=True)
def shallow(monkeypatch):
    """Encoders of one block, which encode few windows at once: a tenth of the time."""
    monkeypatch.setattr("jaxdiff.quality.series.ts2vec.DEPTH", 1)
    monkeypatch.setattr("jaxdiff.quality.series.context.ENCODED_AT_ONCE", 32)


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "series")


@pytest.fixture
def without_plots(monkeypatch):
    monkeypatch.setattr(series_plots, "draw", lambda *given: [])


def report(folder):
    return json.loads((folder / "report.json").read_text(), parse_constant=pytest.fail)


def fresh(count, seed=7, **more):
    """Other windows of the process of the real ones."""
    options = {"length": 8, "features": 2, **more}
    name = "&".join(f"{key}={value}" for key, value in {"count": count, "seed": seed, **options}.items())
    return load_arrays(open_series(f"sines?{name}"))[0]


def splits(real, share):
    how = {"by": "time", "test_share": share}
    return [load_arrays(open_series(real, split=split, **how))[0] for split in ("train", "test")]


def shuffled(arrays, count=10_000):
    """The windows in the order in which programs take them."""
    return arrays[np.random.default_rng(0).permutation(len(arrays))[:count]]


@pytest.fixture
def written_set(tmp_path):
    """Writes a set of samples, as a model would that was trained on `real`; returns its path."""

    def write(name, windows, space, training=None):
        provenance = {"model": "0", "seed": 0, "solver": {"name": "hybrid_heun", "steps": 40},
                      "process": {"name": "bridge_vp", "prior": {"name": "gp"}}} | (
            {"model_training": training} if training else {})  # fmt: skip
        samples = SampleSet.create(tmp_path / name, provenance, (), np.zeros((len(windows), 0), np.int32), space)
        for start in range(0, len(windows), 256):
            samples.write(start, windows[start : start + 256])
        return name

    return write


def test_numbers_are_those_of_the_library(evaluate, tmp_path, written_set, capsys):
    every, test = splits(REAL, 0.3333)
    space = Series.fit(every, ["x1", "x2"])
    windows = fresh(30)
    written_set("gp", windows, space, {"data": REAL, "split": "time", "test_share": 0.3333, "window": None, "step": 12})
    # neither data nor split are given: they are those of the training
    assert evaluate("--sets", "gp", *QUICK, "--out", "out") == 0
    printed, content = " ".join(capsys.readouterr().out.split()), report(tmp_path / "out")
    (found,) = content["sets"]

    scaled = partial(series_data.unit, space)
    encoders = quality.train_encoders(scaled(every), iterations=4, repeats=2)
    assert [each["checksum"] for each in content["encoders"]] == [each.checksum for each in encoders]
    how = {"repeats": 2, "seed": 0}
    measures = {
        "context_fid": lambda *sets: quality.context_fid(encoders, *sets).score,
        "correlational": lambda *sets: quality.correlational_score(*sets, **how),
        "discriminative": lambda *sets: quality.discriminative_score(*sets, iterations=4, **how).score,
        "predictive": lambda *sets: quality.predictive_score(*sets, iterations=4, **how),
        "marginal": lambda *sets: float(quality.marginal_distances(*sets).wasserstein.mean()),
        "autocorrelation": lambda *sets: quality.autocorrelation_distance(*sets).mean,
    }
    train, held_out, drawn = (scaled(shuffled(each)) for each in (every, test, windows))
    for name, measure in measures.items():
        half = quality.with_floor(measure, train, drawn)
        other = quality.with_floor(measure, held_out, drawn, train)
        expected = {"train": measure(train[:30], drawn), "half": half.value, "half_floor": half.floor,
                    "test": other.value, "test_floor": other.floor}  # fmt: skip
        for kind, value in expected.items():
            stored = found["scores"][name][kind]
            assert stored["n"] == 30
            assert stored["mean"] == getattr(value, "mean", value)
            if "half_width" in stored:
                assert stored["half_width"] == value.half_width and stored["values"] == value.values.tolist()

    # what is printed and written
    assert content["real"]["train"] == 60 and content["real"]["test"] == 30 and content["real"]["split"] == "time"
    assert content["scores"]["predictive"]["iterations"] == [4, 5000]
    assert "discriminative 4 of 2,000" in printed and "context-FID 4 of 200" in printed and "Repeats: 2" in printed
    score = found["scores"]["context_fid"]["half_floor"]
    cell = f"{score['mean']:.3f} ± {score['half_width']:.3f}"
    page, text = ((tmp_path / "out" / name).read_text() for name in ("report.html", "report.md"))
    assert cell in printed and cell in page and cell in text
    assert page.count("data:image/png") == 4 and "hybrid_heun 40" in page and encoders[0].checksum in page
    for name in series_plots_names():
        with Image.open(tmp_path / "out" / name) as picture:
            assert min(picture.size) > 200
    assert not list((tmp_path / "out").glob("*.part*"))


def series_plots_names():
    return "pca.png", "windows.png", "autocorrelation.png", "marginals.png"


def test_real_windows_are_at_the_floor_and_what_differs_is_above(evaluate, tmp_path, without_plots):
    real = "sines?count=1500&length=8&features=2"
    windows = fresh(1000)
    every, _ = splits(real, 0.4)
    shift = np.mean(0.1 / np.ptp(every, axis=(0, 1)))  # on the scale on which the training windows fill [0, 1]
    order = np.random.default_rng(1).permuted(np.broadcast_to(np.arange(8), (1000, 8)), axis=1)
    sets = {
        "fresh": windows,
        "shifted": windows + 0.1,
        "disordered": np.take_along_axis(windows, order[..., None], axis=1),
        "alike": windows[..., [0, 0]],
        "slower": fresh(500, length=8),
    }
    for name, each in sets.items():
        np.savez(tmp_path / f"{name}.npz", series=each)
    assert (
        evaluate("--sets", *(f"{name}.npz" for name in sets), "--real", real, "--test-share", 0.4, *FREE, "--out", "out") == 0
    )
    found = {each["name"].removesuffix(".npz"): each["scores"] for each in report(tmp_path / "out")["sets"]}
    for kind in ("half", "test"):
        value = lambda name, score, kind=kind: found[name][score][kind]["mean"]  # noqa: E731
        floor = {score: found["fresh"][score][f"{kind}_floor"]["mean"] for score in FREE[1:]}
        for score in FREE[1:]:
            assert value("fresh", score) < 3 * floor[score]
        assert value("shifted", "marginal") == pytest.approx(shift, abs=0.03) and floor["marginal"] < 0.03
        assert value("shifted", "autocorrelation") == pytest.approx(value("fresh", "autocorrelation"), rel=1e-3)
        assert value("disordered", "autocorrelation") > 5 * floor["autocorrelation"]
        assert value("disordered", "marginal") == pytest.approx(value("fresh", "marginal"), abs=1e-6)
        assert value("alike", "correlational") > 5 * floor["correlational"]
    # the sizes are those of the smallest set, and a smaller set has a floor of its own
    sizes = {kind: found["fresh"]["marginal"][kind]["n"] for kind in ("train", "half", "half_floor", "test", "test_floor")}
    assert sizes == {"train": 900, "half": 450, "half_floor": 450, "test": 600, "test_floor": 600}
    assert found["slower"]["marginal"]["test"]["n"] == 500
    text = (tmp_path / "out" / "report.md").read_text()
    assert text.count("| real | 600 |") == 2 and text.count("| real | 500 |") == 2
    # each column has a line
    assert [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| x")] == ["| x1", "| x2"] * 5


def test_the_discriminative_score_sees_a_shift(evaluate, tmp_path, without_plots):
    np.savez(tmp_path / "shifted.npz", series=fresh(30) + 3, columns=["x1", "x2"])
    given = ("--scores", "discriminative", "--repeats", 2, "--iterations", 500)
    assert evaluate("--sets", "shifted.npz", *SPLIT, *given, "--out", "out") == 0
    scores = report(tmp_path / "out")["sets"][0]["scores"]["discriminative"]
    assert scores["test"]["mean"] > 0.4 > 2 * scores["test_floor"]["mean"]


def test_shuffled_splits_are_seen_by_the_test_floor(evaluate, tmp_path, without_plots):
    """A random walk drifts: its later windows are elsewhere, and those of a shuffled split are where the others are."""
    walk = np.cumsum(np.random.default_rng(0).normal(size=(400, 2)), axis=0)
    lines = ["a,b", *(f"{a:.4f},{b:.4f}" for a, b in walk)]
    (tmp_path / "walk.csv").write_text("\n".join(lines) + "\n")
    found = {}
    for split in ("time", "shuffled"):
        given = ("--sets", "walk.csv?window=8", "--real", "walk.csv", "--split", split)
        assert evaluate(*given, "--scores", "marginal", "--out", split) == 0
        found[split] = report(tmp_path / split)["sets"][0]["scores"]["marginal"]["test_floor"]["mean"]
    assert found["shuffled"] < 0.5 * found["time"]


def test_a_killed_run_repeats_nothing(evaluate, tmp_path, without_plots, resumed):
    np.savez(tmp_path / "fresh.npz", series=fresh(30))
    np.savez(tmp_path / "other.npz", series=fresh(30, seed=9))
    given = ("--scores", "context_fid", "marginal")
    arguments = ("--sets", "fresh.npz", "other.npz", *SPLIT, *QUICK, *given, "--out", "out")
    told = resumed(evaluate, tmp_path / "out", "report.json", arguments, 1, 6)
    # 2 encoders; of each score 3 comparisons of each set, and 2 floors that both share
    assert "resuming: 2 of 2 parts were finished (training encoders)" in told
    assert "resuming: 5 of 20 scores were finished (measuring)" in told


def test_wrong_inputs_are_errors_before_anything_is_measured(evaluate, tmp_path, written_set, capsys):
    every, _ = splits(REAL, 0.3333)
    space = Series.fit(every, ["x1", "x2"])
    np.savez(tmp_path / "set.npz", series=fresh(4))
    np.savez(tmp_path / "long.npz", series=fresh(4, length=9))
    np.savez(tmp_path / "named.npz", series=fresh(4), columns=["a", "b"])
    np.savez(tmp_path / "gaps.npz", series=np.where(np.arange(8)[:, None] == 3, np.nan, fresh(4)))
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    written_set("other", fresh(4), Series(("x1", "x2"), 8, (0.0, 0.0), (1.0, 1.0)), {"data": REAL, "split": "shuffled"})
    written_set("gp", fresh(4), space, {"data": REAL, "split": "time"})
    written_set("pictures", np.zeros((2, 8, 8, 3), np.uint8), Pixels(8, 8, 3))
    cases = {
        ("--sets", "set.npz"): "--real is needed: the sets do not record",
        ("--sets", "set.npz", "set.npz", *SPLIT): "--sets takes one or more different sets",
        ("--sets", "set.npz", *SPLIT, "--scores", "marginal", "marginal"): "--scores takes one or more different scores",
        ("--sets", "set.npz", *SPLIT, "--repeats", "0"): "--repeats must be at least 1, got 0",
        ("--sets", "set.npz", "--real", "sines?length=9&features=2"): "have 9 rows",
        ("--sets", "set.npz", "--real", "sines?length=8&features=3"): "has the columns x1, x2, x3, got x1, x2",
        ("--sets", "set.npz", "long.npz", *SPLIT): "long.npz has windows of 9 rows of x1, x2; the others and --real",
        ("--sets", "set.npz", "named.npz", *SPLIT): "named.npz has windows of 8 rows of a, b",
        ("--sets", "set.npz", "--real", "set.npz"): "set.npz has no splits: give a table",
        ("--sets", "gaps.npz", *SPLIT): "row 3 of gaps.npz has no value in column 'x1'; 4 of 4 windows",
        ("--sets", "images.npz", *SPLIT): "no array 'series'",
        ("--sets", "pictures", *SPLIT): "expected a set of windows of series",
        ("--sets", "other", *SPLIT): "'x1' in [0, 1]; those of sines?count=90&length=8&features=2, split shuffled",
        ("--sets", "other", "gp", "--real", REAL): "the sets were trained on different data, shuffled and time: give --split",
        ("--sets", "nowhere", *SPLIT): "no series at 'nowhere'",
    }  # fmt: skip
    for arguments, message in cases.items():
        assert evaluate(*arguments, "--out", "out") == 2, message
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out" / "report.json").exists()


def test_labels_of_stored_windows_select(tmp_path, written_set):
    windows = fresh(6)
    names = {"attributes": ["speed"], "values_speed": ["slow", "fast"]}
    np.savez(tmp_path / "set.npz", series=windows.astype(np.float32), labels=np.array([0, 1, 1, 0, 1, 0]), **names)
    source = open_series(f"{tmp_path}/set.npz:speed=fast")
    assert source.attributes == (Attribute("speed", ("slow", "fast")),) and source.name.endswith("set.npz:speed=fast")
    found, labels = load_arrays(source)
    np.testing.assert_array_equal(found, windows.astype(np.float32)[[1, 2, 4]].astype(np.float64))
    assert labels.ravel().tolist() == [1, 1, 1]
    named = open_series("sines?count=50&label=yes:speed=fast+start=low")
    whole = open_series("sines?count=50&label=yes")
    np.testing.assert_array_equal(load_arrays(named)[0], load_arrays(whole)[0][(whole.labels == [1, 0]).all(axis=1)])
