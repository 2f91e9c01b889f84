"""`jaxdiff sample draw --table`: the windows of a set as a table of their values."""

import csv
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import model as models
from jaxdiff.data.attributes import Attribute
from jaxdiff.data.samples import Samples
from jaxdiff.models.network import series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import bridge_ve
from jaxdiff.spaces import Series
from sample.__main__ import main

FAST = ("--solver", "unipc", "--steps", 2, "--count", 6)


def save_series(folder, columns=("load", "price"), attribute="kind"):
    """An untrained model of labelled windows."""
    config = SeriesConfig(length=4, features=2, width=8, heads=1, encoder=1, decoder=1, values=(2,))
    shapes = jax.eval_shape(partial(series_transformer, config), jax.random.key(0))
    rng = np.random.default_rng(0)
    weights = jax.tree.map(lambda leaf: jnp.asarray(0.2 * rng.standard_normal(leaf.shape, np.float32)), shapes.weights)
    space, attributes = Series(columns, 4, (0.0, 100.0), (10.0, 300.0)), (Attribute(attribute, ("day", "night")),)
    network = type(shapes)(weights, shapes.structure)
    models.save(folder, models.series_model(config, network, bridge_ve(1.0), "x0", space, attributes))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_series(tmp_path_factory.mktemp("models") / "run")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_the_table_has_every_value_of_the_set(model, suffix, tmp_path, call_program):
    given = ("--model", model, *FAST, "--table", suffix, "--out", "set")
    assert call_program(main, "sample", "draw", *given) == 0
    drawn = Samples.open(tmp_path / "set")
    windows = np.stack([drawn.image(i) for i in range(6)])
    if suffix == "csv":
        with open(tmp_path / "set" / "windows.csv", newline="") as opened:
            rows = list(csv.DictReader(opened))
        table = {name: [row[name] for row in rows] for name in rows[0]}
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(tmp_path / "set" / "windows.parquet").to_pydict()
    assert list(table) == ["window", "step", "kind", "load", "price"] and len(table["window"]) == 24
    at = np.array(table["window"], int), np.array(table["step"], int)
    assert len(set(zip(*at, strict=True))) == 24
    for column, name in enumerate(("load", "price")):
        np.testing.assert_array_equal(np.array(table[name], float), windows[*at, column])
    assert table["kind"] == [("day", "night")[drawn.labels[window, 0]] for window in at[0]]


def test_a_finished_set_gets_its_table_by_the_same_command(model, tmp_path, call_program):
    given = ("sample", "draw", "--model", model, *FAST, "--out", "set")
    assert call_program(main, *given) == 0
    assert not (tmp_path / "set" / "windows.csv").exists()
    assert call_program(main, *given, "--table", "csv") == 0
    written = (tmp_path / "set" / "windows.csv").read_bytes()
    assert call_program(main, *given, "--table", "csv") == 0
    assert (tmp_path / "set" / "windows.csv").read_bytes() == written


def test_what_has_no_table_is_said_before_it_is_drawn(save_model, tmp_path, call_program, capsys):
    images = save_model(tmp_path / "images")
    named = save_series(tmp_path / "named", columns=("load", "step"))
    same = save_series(tmp_path / "same", attribute="price")
    for given, message in (
        (images, "--table is for models of time series, and this model draws images"),
        (named, "--table has no place for a column 'step' of the model"),
        (same, "--table has no place for a column 'price' of the model"),
    ):
        assert call_program(main, "sample", "draw", "--model", given, *FAST, "--table", "csv", "--out", "set") == 2
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "set").exists()


@pytest.mark.parametrize(("given", "name", "warned"), [((), "dpm_solver_sde", False), (("--solver", "heun"), "heun", True)])
def test_a_bridge_without_x_T_as_input_is_drawn_by_the_reverse_sde(model, given, name, warned, tmp_path, call_program, capsys):
    assert call_program(main, "sample", "draw", "--model", model, *given, "--steps", 2, "--count", 2, "--out", "set") == 0
    assert Samples.open(tmp_path / "set").provenance["solver"]["name"] == name
    assert ("Warning: the network of this bridge does not see x_T" in " ".join(capsys.readouterr().out.split())) == warned
