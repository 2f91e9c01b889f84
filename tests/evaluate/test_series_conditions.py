"""`jaxdiff evaluate conditions`: its numbers are those of the library, and conditions of every kind are measured."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from evaluate import series_conditions_report, series_data, series_imputation
from evaluate.__main__ import main
from jaxdiff import model as models
from jaxdiff import priors
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.data import load_arrays
from jaxdiff.data.series import open_series
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import bridge_ve, vp_cosine
from jaxdiff.quality import series as quality
from jaxdiff.spaces import Series

NAMES = ("Open", "High", "Low", "Close")
QUICK = ("--steps", 2, "--count", 6, "--batch-size", 6)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """300 days of prices, in their order: the data of all models."""
    rng = np.random.default_rng(0)
    opened = 50 + np.cumsum(rng.normal(size=300)) * 0.1
    closed = opened + rng.normal(size=300) * 0.3
    high = np.maximum(opened, closed) + rng.random(300)
    low = np.minimum(opened, closed) - rng.random(300)
    lines = [
        ",".join(NAMES),
        *(",".join(f"{value:.5f}" for value in row) for row in zip(opened, high, low, closed, strict=True)),
    ]
    path = tmp_path_factory.mktemp("table") / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def saved(table, tmp_path):
    """Saves an untrained model whose prior has this name, as if it had been trained on the table; returns its space."""

    def save(name, out="run", **settings):
        train = open_series(f"{table}?window=8", split="train", test_share=0.2)
        windows = load_arrays(train)[0]
        space = Series.fit(windows, train.columns)
        process = vp_cosine()
        if name:
            if name == "ohlc":
                settings |= {"low": space.low, "high": space.high}
            process = bridge_ve(1.0, priors.PRIORS[name].fit(space.encode(windows), 0, **settings))
        paired = bool(name) and process.prior_of_end.paired
        known = name in ("imputation", "fixed", "extremes", "ohlc")
        config = SeriesConfig(length=8, features=4, width=8, heads=2, encoder=1, decoder=1, end_input=paired, known_input=known)
        network = series_transformer(config, jax.random.key(0))
        # a fresh network's output is 0, and its draws are all alike
        rng = np.random.default_rng(1)
        network = Network(jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.05, leaf.shape), network.weights), network.structure)
        training = {"data": f"{table}?window=8", "split": "time", "test_share": 0.2, "window": None}
        models.save(tmp_path / out, models.series_model(config, network, process, "x0", space, (), training))
        return space

    return save


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "conditions")


def report(folder):
    return json.loads((folder / "conditions.json").read_text(), parse_constant=pytest.fail)


def test_imputation_is_measured_and_resumes(evaluate, tmp_path, saved, resumed, table, monkeypatch, capsys):
    space = saved("imputation")
    drawn = []
    keep = lambda *given, **named: drawn.append(given) or measure(*given, **named)  # noqa: E731
    measure = series_imputation.measured
    monkeypatch.setattr(series_imputation, "measured", keep)
    monkeypatch.setattr(series_conditions_report, "_picture", lambda path, *shown: path.touch())  # takes a second each time
    arguments = ("--model", "run", *QUICK, "--shares", "0.8", "--draws", 19, "--out", "out")
    told = resumed(evaluate, tmp_path / "out", "conditions.json", arguments, 3, 20)
    assert "resuming: 20 of 38 draws were finished (drawing)" in told
    content = report(tmp_path / "out")
    rows = content["imputation"]
    assert [(row["mask"], row["share"]) for row in rows] == [("points", 0.8), ("gaps", 0.8)]
    test = open_series(f"{table}?window=8", split="test", test_share=0.2)
    windows = (space.encode(load_arrays(test, count=6, seed=0)[0]).astype(np.float64) + 1) / 2
    for row, (true, draws, missing) in zip(rows, drawn[-2:], strict=True):
        np.testing.assert_allclose(true, windows, atol=1e-7)
        assert draws.shape == (19, 6, 8, 4) and row["count"] == missing.sum()
        # observed values are kept, and draws differ
        assert row["largest_change_of_observed"] < 1e-6
        assert draws[:, missing].std(axis=0).max() > 1e-3
        error = quality.imputation_error(true, draws, missing)
        assert (row["model"]["mae"], row["model"]["mse"]) == (error.mae, error.mse)
        hidden = np.where(missing, 99.0, true)
        line = quality.imputation_error(true, quality.linear_interpolation(hidden, missing)[None], missing)
        last = quality.imputation_error(true, quality.last_value(hidden, missing)[None], missing)
        assert row["linear interpolation"]["mae"] == pytest.approx(line.mae)
        assert row["last value"]["mse"] == pytest.approx(last.mse)
        assert row["ratio"]["value"] == pytest.approx(error.mae / line.mae)
        low, high = row["ratio"]["interval"]
        assert low <= row["ratio"]["value"] <= high
        covered = quality.interval_coverage(true, draws, missing, level=0.9)
        assert (row["model"]["coverage"], row["model"]["width"]) == (covered.share, covered.width)
        assert row["model"]["crps"] == quality.crps(true, draws, missing)
        for name in ("mae", "mse", "crps", "coverage"):
            low, high = row["model"]["intervals"][name]
            assert low <= row["model"][name] <= high
    shares = [missing.mean() for *_, missing in drawn[-2:]]
    np.testing.assert_allclose(shares, [0.8, 0.8], atol=0.1)
    text = (tmp_path / "out" / "conditions.md").read_text()
    assert "gaps, 80 %" in text and "at 80 %" in text and "6 of" in text
    assert (tmp_path / "out" / "imputation.png").exists()


def test_the_picture_shows_windows(tmp_path, rng):
    true, missing = rng.random((1, 8, 2)), rng.random((1, 8, 2)) < 0.5
    shown = {"name": "points, 50 %", "true": true, "draws": rng.random((19, 1, 8, 2)), "missing": missing}
    series_conditions_report._picture(tmp_path / "imputation.png", shown, ["load", "a $price$"])
    with Image.open(tmp_path / "imputation.png") as picture:
        assert min(picture.size) > 200


@pytest.mark.parametrize(("name", "kinds"), [
    ("fixed", ["given values"]),
    ("extremes", ["given values", "minimum and maximum"]),
    ("ohlc", ["given values", "order of prices"]),
])  # fmt: skip
def test_constraints_hold_exactly(evaluate, tmp_path, saved, name, kinds):
    saved(name, **({"share": 0.3} if name == "fixed" else {}))
    assert evaluate("--model", "run", *QUICK, "--draws", 2, "--out", "out") == 0
    rows = report(tmp_path / "out")["constraints"]
    assert [row["constraint"] for row in rows] == [kind for kind in kinds for _ in range(2)]
    for row in rows:
        # prices are compared in float32, which resolves 4e-6 of a price of 50 in a range of 6
        limit = 5e-6 if row["constraint"] == "order of prices" else 1e-6
        assert row["shares"][0] == 1 and row["largest"] < limit, row
        assert limit > 1e-6 or row["shares"][1] == 1
    model, real = rows[0], rows[1]
    assert (model["windows"], real["windows"]) == ("model", "real") and model["count"] == 2 * real["count"] > 0


def test_broken_constraints_are_seen(evaluate, tmp_path, saved, monkeypatch):
    saved("extremes")
    prior = priors.PRIORS["extremes"]
    monkeypatch.setattr(prior, "project", lambda self, x0, end, known: x0)
    # other steps, since the program of the same ones is compiled
    assert evaluate("--model", "run", "--steps", 3, "--count", 5, "--draws", 2, "--out", "out") == 0
    for row in report(tmp_path / "out")["constraints"]:
        kept = row["shares"][0]
        assert kept == 1 if row["windows"] == "real" else kept < 0.5


def test_distances_from_trends_are_measured(evaluate, tmp_path, saved, table):
    space = saved("trend")
    assert evaluate("--model", "run", *QUICK, "--draws", 2, "--out", "out") == 0
    found = report(tmp_path / "out")["trend"]
    test = open_series(f"{table}?window=8", split="test", test_share=0.2)
    x = space.encode(load_arrays(test, count=6, seed=0)[0])
    smoother = priors.PRIORS["trend"].fit(x).smoother
    trends = np.clip(np.einsum("lk,nkf->nlf", np.asarray(smoother, np.float64), x), -1, 1)
    assert found["real"] == pytest.approx(quality.trend_error((trends + 1) / 2, (x + 1) / 2), rel=1e-4)
    assert found["model"] == pytest.approx(np.mean(found["by_draw"])) and len(found["by_draw"]) == 2


def test_wrong_models_and_options_are_errors(evaluate, tmp_path, saved, table, capsys):
    saved("imputation")
    saved("gp", "gp")
    saved(None, "ddpm")
    other = table.with_name("other.csv")
    other.write_text(table.read_text().replace("Open", "Start"))
    cases = {
        ("--model", "gp"): "gp has prior gp, which takes no condition: `jaxdiff evaluate series`",
        ("--model", "ddpm"): "ddpm has vp_cosine, which takes no condition",
        ("--model", "run", "--draws", "18"): "--draws must be at least 19 for 90 % intervals, got 18",
        ("--model", "run", "--shares", "0.5", "0.5"): "--shares takes one or more different ones, got 0.5 0.5",
        ("--model", "run", "--shares", "1"): "--shares must lie in (0, 1), got 1",
        ("--model", "run", "--test-share", "0.7"): "run is a model whose training windows have",
        ("--model", "run", "--real", other): "column 'Open'",
        ("--model", "embedded"): "--model takes a model of series",
    }
    for arguments, message in cases.items():
        assert evaluate(*arguments, "--out", "out") == 2, message
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out" / "conditions.json").exists()


def test_gaps_hide_the_share_that_is_asked_for():
    for share in (0.5, 0.7, 0.8, 0.9):
        missing = series_imputation.mask("gaps", share, (400, 24, 3), 0)
        assert missing.mean() == pytest.approx(share, abs=0.02)
        begins = (missing[:, 1:] & ~missing[:, :-1]).mean()
        # of a stationary chain, the share of observed values times the probability that a gap begins
        assert begins == pytest.approx(share / series_imputation.gap_length(share), rel=0.1)
    assert series_imputation.gap_length(0.5) == 3 and series_imputation.gap_length(0.9) == pytest.approx(9)


@pytest.mark.parametrize("prior", ["imputation", "normal", None])
def test_windows_are_split_into_parts_that_add_up(call_program, tmp_path, saved, table, prior):
    space = saved(prior)
    calls = partial(call_program, main, "evaluate", "decomposition", "--model", "run", "--count", 6)
    assert calls("--out", "parts") == 0
    model = models.load(tmp_path / "run")
    test = open_series(f"{table}?window=8", split="test", test_share=0.2)
    windows, labels = load_arrays(test, count=6, seed=0)
    with np.load(tmp_path / "parts" / "decomposition.npz") as found:
        np.testing.assert_array_equal(found["series"], windows)
        assert found["columns"].tolist() == list(NAMES)
        total = found["trend"] + found["season"] + found["residual"]
    # the network's estimate of the windows from themselves, at the first training time
    t, x0 = jnp.full(6, 1e-4), jnp.asarray(space.encode(windows))
    condition = model.conditions.encode(labels)
    free = np.ones(windows.shape, bool)
    if prior:
        end, known = series_data.ends(model.process, space.encode(windows), 0)
        condition = jax.tree.map(jnp.asarray, BridgeCondition(end, known, condition.labels))
        free = free if known is None else ~known  # the model puts known values in place of the network's
    x = model.process.noised(x0, jnp.zeros_like(x0), t)
    estimate = space.decode(model.denoise(x, t, condition))
    np.testing.assert_allclose(total[free], estimate[free], atol=1e-3)
    with Image.open(tmp_path / "parts" / "decomposition.png") as picture:
        assert min(picture.size) > 500


def test_windows_of_other_columns_are_not_split(call_program, tmp_path, saved, capsys):
    saved(None)
    np.savez(tmp_path / "other.npz", series=np.random.default_rng(0).random((5, 8, 3)))
    assert call_program(main, "evaluate", "decomposition", "--model", "run", "--set", "other.npz", "--out", "parts") == 2
    assert "other.npz" in capsys.readouterr().err and not (tmp_path / "parts").exists()
