"""`jaxdiff train series` end to end on a small table: train, load, draw, and conditions that hold exactly."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiff as jd
from jaxdiff import model as models
from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.choices import BRIDGES, PRIORS
from jaxdiff.data.samples import Samples
from jaxdiff.errors import InputError
from jaxdiff.priors import PRIORS as KINDS
from jaxdiff.process import BRIDGES as MAKERS
from sample.__main__ import main as sample_main
from train import series
from train.__main__ import main as train_main
from train.run import train_series
from train.series_options import SeriesOptions


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """200 hours of two columns, one of them with two missing values."""
    hours = np.arange("2020-01-01T00", "2020-01-09T08", dtype="datetime64[h]")
    load = 5 + 2 * np.sin(np.arange(200) / 3)
    rows = [f"{hour},{value:.3f},{value / 2 + i / 100:.3f}" for i, (hour, value) in enumerate(zip(hours, load, strict=True))]
    rows[50] = rows[50].rpartition(",")[0] + ","
    path = tmp_path_factory.mktemp("table") / "load.csv"
    path.write_text("\n".join(["date,load,price", *rows]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    """The folder of a trained model of imputation."""
    out = tmp_path_factory.mktemp("runs") / "load"
    options = SeriesOptions(
        out, data=f"{table}?window=8", prior="imputation", steps=3, batch_size=8, warmup=1,
        preview_every=0, log_every=1,
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        train_series(options)
    assert not ended.value.code
    return out


def test_a_run_leaves_a_model_that_knows_its_columns(run):
    model = jd.load(run)
    assert model.space.columns == ("load", "price") and model.shape == (8, 2)
    assert model.process.prior_of_end.name == "imputation" and model.process.name == "bridge_ve" and model.prediction == "edm"
    assert model.config.end_input and model.config.known_input
    assert (run / "previews" / "0000003.png").is_file() and (run / "loss.png").is_file()
    described = json.loads((run / "config.json").read_text())
    assert described["process"]["prior"]["name"] == "imputation" and described["split"] == "time"
    # the last tenth of the rows is held out: the scale is that of the rows before
    assert abs(model.space.high[1] - (3.5 + 1.8)) < 0.1


def test_the_model_file_is_restored_bit_for_bit(run, tmp_path):
    model = jd.load(run)
    fingerprint = models.save(tmp_path / "again", model)
    again = jd.load(tmp_path / "again")
    assert again.fingerprint == fingerprint == model.fingerprint
    assert again.process.config() == model.process.config()
    for name, array in model.process.prior_of_end.arrays().items():
        np.testing.assert_array_equal(again.process.prior_of_end.arrays()[name], array)
    assert again.conditions == model.conditions and again.space == model.space


def test_windows_with_missing_values_are_left_out(table):
    options = SeriesOptions(out=table.parent / "none", data=f"{table}?window=8")
    source = series.training_series(options)
    assert not source.missing.any()
    assert any("8 windows with missing values are left out" in note for note in source.notes)


def test_given_values_are_exact_in_samples(run):
    model = jd.load(run)
    rng = np.random.default_rng(0)
    known = jnp.asarray(rng.random((3, 8, 2)) < 0.4)
    values = jnp.asarray(rng.uniform(-1, 1, (3, 8, 2)), jnp.float32)
    found = jax.vmap(model.process.prior_of_end.given)(values, known)
    condition = BridgeCondition(found.end, found.known, model.conditions.encode(np.zeros((3, 0), np.int32)).labels)
    x = jd.sample(
        model.denoise, model.process, shape=model.shape, solver=jd.HybridHeun(3), key=jax.random.key(0), condition=condition
    )
    np.testing.assert_array_equal(np.asarray(x)[known], np.asarray(values)[known])


def test_a_set_is_drawn_in_the_units_of_the_table(run, tmp_path, call_program):
    given = ("--model", run, "--count", 4, "--steps", 3, "--solver", "hybrid_heun", "--out", tmp_path / "set")
    assert call_program(sample_main, "sample", "draw", *given) == 0
    drawn = Samples.open(tmp_path / "set")
    windows = np.stack([drawn.image(i) for i in range(4)])
    assert windows.shape == (4, 8, 2) and windows.dtype == np.float64
    assert np.isfinite(windows).all()
    # the known entries of a drawn condition are values of training windows
    model = jd.load(run)
    ends, known = (np.asarray(each) for each in (model.process.prior_of_end.ends, model.process.prior_of_end.knowns))
    x = model.space.encode(windows)
    for window in x:
        exact = np.abs(np.where(known, ends - window, 0)).max((1, 2))
        assert exact.min() < 1e-6


def test_a_baseline_and_labels_train_too(tmp_path):
    options = SeriesOptions(
        tmp_path / "run", data="sines?count=64&length=8&features=2&label=yes", process="ddpm_cosine", steps=2, batch_size=8,
        warmup=1, preview_every=0,
    )  # fmt: skip
    with pytest.raises(SystemExit) as ended:
        train_series(options)
    assert not ended.value.code
    model = jd.load(tmp_path / "run")
    assert model.process.name == "ddpm_cosine" and model.prediction == "x0" and model.conditions.attributes
    assert not model.config.end_input


def test_choices_are_those_of_the_library():
    assert set(PRIORS) == set(KINDS) and set(BRIDGES) == set(MAKERS)
    for name, about in PRIORS.items():
        assert KINDS[name].about == about


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "etth"), "--data is needed"),
        (("--preset", "sines", "--process", "vp_cosine", "--prior", "gp"), "--prior is for the processes"),
        (("--preset", "sines", "--kernel", "data", "--prior", "normal"), "--kernel is for --prior gp"),
        (("--preset", "sines", "--process", "bridge_ve", "--beta-min", "0.1"), "--beta-min is for --process bridge_vp"),
        (("--preset", "sines", "--prior", "trend", "--end-input", "False"), "--end-input is needed"),
        (("--preset", "sines", "--prediction", "v"), "--end-input is needed"),
        (("--preset", "sines", "--prior", "ohlc"), "names the column 'Open'"),
        (("--preset", "series", "--data", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_wrong_options_are_errors_before_anything_runs(tmp_path, capsys, call_program, arguments, message):
    assert call_program(train_main, "train", "series", *arguments, "--out", tmp_path / "run") != 0
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_network_that_needs_x_T_has_it():
    with pytest.raises(InputError, match="end_input"):
        models.require_end_input(models.SeriesConfig(length=8, features=2), MAKERS["bridge_vp"](prior=KINDS["trend"].fit(
            np.random.default_rng(0).normal(size=(4, 8, 2)))), "x0")  # fmt: skip


@pytest.mark.parametrize(
    ("given", "prediction"),
    [({}, "edm_marginal"), ({"end_input": True}, "edm"), ({"prior": "trend"}, "edm"), ({"process": "vp_cosine"}, "x0")],
)
def test_networks_of_bridges_are_preconditioned_unless_told_otherwise(tmp_path, given, prediction):
    assert SeriesOptions(tmp_path, data="sines", **given).predicted == prediction
    assert SeriesOptions(tmp_path, data="sines", prediction="x0", **given).predicted == "x0"
