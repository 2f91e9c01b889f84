"""Fair and safe sampling of time series with labels: the programs run on windows as on images."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxdiff import model as models
from jaxdiff import priors
from jaxdiff.data import load_arrays
from jaxdiff.data.samples import Samples
from jaxdiff.data.series import open_series
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.process import bridge_vp
from jaxdiff.spaces import Series
from sample.__main__ import main

DATA = "sines?count=80&length=8&features=2&label=yes"
SOLVER = ("--solver", "unipc", "--steps", 4)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of an untrained bridge model of windows with two labels."""
    folder = tmp_path_factory.mktemp("runs")
    train = open_series(DATA, split="train", test_share=0.25)
    windows = load_arrays(train)[0]
    space = Series.fit(windows, train.columns)
    config = SeriesConfig(length=8, features=2, width=8, heads=2, encoder=1, decoder=1, values=(2, 2))
    network = series_transformer(config, jax.random.key(0))
    # a fresh network's output is 0, whatever its labels
    rng = np.random.default_rng(1)
    network = Network(jax.tree.map(lambda leaf: leaf + rng.normal(0, 0.1, leaf.shape), network.weights), network.structure)
    training = {"data": DATA, "split": "time", "test_share": 0.25, "window": None}
    process = bridge_vp(0.2, 10.0, priors.PRIORS["gp"].fit(space.encode(windows)))
    models.save(folder, models.series_model(config, network, process, "x0", space, train.attributes, training))
    return folder


@pytest.fixture
def sample(call_program, run):
    """Runs a command with the model; returns its exit status."""
    return lambda command, *arguments: call_program(main, "sample", command, "--model", run, *SOLVER, *arguments)


def windows_of(path):
    return load_arrays(Samples.open(path))[0]


def test_transition_points_are_found_and_switched_at(sample, tmp_path):
    draw = partial(sample, "draw", "--attribute", "speed", "--count", 6)
    assert draw("--out", tmp_path / "plain") == 0
    found = tmp_path / "whitened.json"
    assert sample("search", "--attribute", "speed", "--metric", "whitened", "--batch", 8, "--out", found) == 0
    assert draw("--method", "switching", "--tau-file", found, "--out", tmp_path / "switched") == 0
    switched = Samples.open(tmp_path / "switched")
    assert switched.provenance["method"] == "switching" and 0 <= switched.provenance["tau"] <= 1
    assert switched.attributes[0].name == "speed"
    # at 1 a sample is drawn as its own class throughout
    assert draw("--method", "switching", "--tau", 1.0, "--out", tmp_path / "end") == 0
    np.testing.assert_array_equal(windows_of(tmp_path / "end"), windows_of(tmp_path / "plain"))
    assert draw("--method", "switching", "--tau", 0.5, "--out", tmp_path / "half") == 0
    assert np.abs(windows_of(tmp_path / "half") - windows_of(tmp_path / "plain")).max() > 1e-4


def test_the_safe_denoiser_keeps_away_from_windows(sample, tmp_path):
    draw = partial(sample, "draw", "--attribute", "speed", "--count", 6)
    assert draw("--out", tmp_path / "plain") == 0
    plain = windows_of(tmp_path / "plain")
    guarded = {}
    # a set of samples, an npz file, and classes of data, of their training split
    np.savez(tmp_path / "unsafe.npz", series=plain)
    for name, unsafe in {"set": tmp_path / "plain", "npz": tmp_path / "unsafe.npz"}.items():
        given = ("--guard", "safe", "--unsafe", unsafe, "--window", 0, "inf")
        assert draw(*given, "--out", tmp_path / name) == 0
        guarded[name] = windows_of(tmp_path / name)
    np.testing.assert_array_equal(guarded["set"], guarded["npz"])
    assert np.abs(guarded["set"] - plain).max() > 1e-3
    given = ("--guard", "safe", "--unsafe", f"{DATA}:speed=fast", "--unsafe-split", "train", "--strength", 0)
    assert draw(*given, "--out", tmp_path / "none") == 0
    np.testing.assert_array_equal(windows_of(tmp_path / "none"), plain)
    train = open_series(f"{DATA}:speed=fast", split="train", test_share=0.25)
    assert Samples.open(tmp_path / "none").provenance["unsafe_images"] == len(train)


def test_what_is_for_images_is_an_error(sample, tmp_path, capsys):
    np.savez(tmp_path / "images.npz", images=np.zeros((4, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "other.npz", series=np.zeros((4, 8, 3)))
    guard = ("draw", "--attribute", "speed", "--count", 4, "--guard", "safe", "--unsafe")
    cases = {
        ("search", "--attribute", "speed"): "--metric feature is that of a classifier of images",
        (*guard, tmp_path / "images.npz"): "no array 'series'",
        (*guard, tmp_path / "other.npz"): "has the columns x1, x2, x3, not x1, x2",
        (*guard, DATA, "--layout", "npz"): "is for images, and sines",
        (*guard, DATA, "--unsafe-split", "validation"): "must be train or test",
        (*guard, f"{DATA}:speed=quick"): "has no value 'quick'",
    }
    for (command, *given), message in cases.items():
        assert sample(command, *given, "--out", tmp_path / "out") == 2, message
        assert message in " ".join(capsys.readouterr().err.split())
