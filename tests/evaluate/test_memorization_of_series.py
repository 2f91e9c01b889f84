"""`jaxdiff evaluate memorization` of sets of time series: copies of training windows are found on the scale of the model."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evaluate.__main__ import main
from jaxdiff.data import load_arrays
from jaxdiff.data.series import open_series
from jaxdiff.errors import InputError
from jaxdiff.quality.pixels import neighbours
from jaxdiff.safety.duplicates import find_duplicates
from jaxdiff.safety.memorization import closeness
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Series

REAL = "sines?count=400&length=8&features=2&seed=2"


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "memorization")


@pytest.fixture
def written(tmp_path):
    """Writes the sets `copies`, whose first fifth are training windows with little noise, and `fresh`; returns the windows."""
    train, test = (load_arrays(open_series(REAL, split=split, test_share=0.25))[0] for split in ("train", "test"))
    space = Series.fit(train, ["x1", "x2"])
    rng = np.random.default_rng(0)
    fresh = load_arrays(open_series("sines?count=100&length=8&features=2&seed=8"))[0]
    copies = fresh.copy()
    copies[:20] = train[20:40] + rng.normal(0, 1e-5, (20, 8, 2))
    training = {"data": REAL, "split": "time", "test_share": 0.25, "window": None}
    for name, windows in (("copies", copies), ("fresh", fresh)):
        provenance = {"model": "0", "seed": 0, "model_training": training}
        made = SampleSet.create(tmp_path / name, provenance, (), np.zeros((100, 0), np.int32), space)
        made.write(0, windows)
    return {"train": train, "test": test, "copies": copies, "fresh": fresh, "space": space}


def report(folder):
    return json.loads((folder / "memorization.json").read_text(), parse_constant=pytest.fail)


def test_copies_are_found_and_their_originals_are_at_risk(evaluate, tmp_path, written, capsys):
    assert evaluate("--samples", "copies", "fresh", "--neighbours", 5, "--out", "out") == 0
    printed, content = " ".join(capsys.readouterr().out.split()), report(tmp_path / "out")
    copies, fresh = content["sets"]
    assert copies["count"] == fresh["count"] == [100, 100] and content["train"]["count"] == 300
    assert copies["memorised"]["share"] >= 0.2
    assert copies["memorised"]["excess_interval"][0] > 0 > fresh["memorised"]["excess_interval"][0]

    # distances are root mean squares on the scale of the model
    space = written["space"]
    x, train = (space.encode(written[name]).astype(np.float64) for name in ("copies", "train"))
    x = x[np.random.default_rng(0).permutation(100)]
    squares = np.square(x[:, None] - train).mean(axis=(2, 3))
    np.testing.assert_allclose(copies["images"]["distance"], np.sqrt(squares.min(axis=1)), rtol=1e-6)
    assert copies["images"]["nearest"] == squares.argmin(axis=1).tolist() and not any(copies["images"]["mirrored"])

    # windows that overlap are near one another: by default only equal ones are duplicates
    assert content["train"]["duplicates_within"] == 0 and content["train"]["distinct"] == 300
    assert {*range(20, 40)} <= {*content["at_risk"]}
    stored = open_series(tmp_path / "out" / "at_risk.npz", columns=["x1", "x2"])
    np.testing.assert_array_equal(load_arrays(stored)[0], written["train"][content["at_risk"]])
    text = (tmp_path / "out" / "memorization.md").read_text()
    assert "windows that reproduce a training window" in text and "fill [-1, 1]" in text and "grey" not in text
    assert "windows that reproduce a training window" in printed and "image" not in printed
    with Image.open(tmp_path / "out" / "closest.png") as picture:
        assert picture.size[0] > 800


def test_inputs_of_other_kinds_are_errors(evaluate, tmp_path, written, capsys):
    np.savez(tmp_path / "long.npz", series=np.zeros((3, 9, 2)))
    cases = {
        ("--size", "8"): "--size is for images, and copies is a set of time series",
        ("--model", "embedded"): "--model is for images",
        ("--split", "validation"): "--split of time series must be train or test, got validation",
        ("--train", REAL.replace("seed=2", "seed=3")): "copies was drawn by a model whose training windows have 'x1' in",
        ("--neighbours", "301"): "--neighbours 301 needs as many training windows",
        ("--train", "sines?length=9&features=2"): "have 9 rows",
    }
    for arguments, message in cases.items():
        assert evaluate("--samples", "copies", *arguments, "--out", "out") == 2, message
        assert message in " ".join(capsys.readouterr().err.split())
    assert evaluate("--samples", "copies", "long.npz", "--out", "out") == 2
    assert "long.npz has windows of 9 rows" in " ".join(capsys.readouterr().err.split())
    np.savez(tmp_path / "alone.npz", series=np.zeros((3, 8, 2)))
    assert evaluate("--samples", "alone.npz", "--out", "out") == 2
    assert "--train is needed: the sets do not record" in " ".join(capsys.readouterr().err.split())
    np.savez(tmp_path / "images.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    assert evaluate("--samples", "images.npz", "--split-by", "time", "--out", "out") == 2
    assert "--split-by is for sets of time series" in " ".join(capsys.readouterr().err.split())


def test_neighbours_of_windows_are_those_by_differences(rng):
    y = rng.normal(size=(60, 5, 3)) + 100  # far from 0, where products lose digits
    x = np.concatenate([y[7:9], y[7:8] + 1e-9, rng.normal(size=(20, 5, 3)) + 100]).astype(np.float64)
    brute = np.sqrt(np.square(x[:, None] - y).mean(axis=(2, 3)))
    found = neighbours(x, y, 4)
    np.testing.assert_allclose(found.distances, np.sort(brute, axis=1)[:, :4], rtol=1e-12)
    assert (found.distances[:2, 0] == 0).all() and 0 < found.distances[2, 0] < 1e-8
    groups = np.arange(60) // 3
    by_group = brute.reshape(len(x), 20, 3).min(axis=2)
    np.testing.assert_allclose(neighbours(x, y, 4, groups=groups).distances, np.sort(by_group, axis=1)[:, :4], rtol=1e-12)
    with pytest.raises(InputError, match="`flips` is for images"):
        neighbours(x, y, flips=True)


@pytest.mark.parametrize("distance", [0.0, 0.05, 0.3])
def test_duplicates_of_windows_are_connected_windows(rng, distance):
    x = rng.normal(size=(40, 4, 2)).astype(np.float32)
    x[5], x[6], x[7], x[30] = x[1], x[1] + 0.04, x[1] + 0.08, x[2] + 0.2
    near = np.sqrt(np.square(x[:, None].astype(np.float64) - x).mean(axis=(2, 3))) <= distance
    expected = np.arange(40)
    for _ in range(40):  # the smallest index that a window reaches
        expected = np.where(near, expected, 40).min(axis=1)
    found = find_duplicates(x, distance=distance)
    assert found.groups.tolist() == expected.tolist() and found.exact == 1
    held_out = closeness(x[5:8], x, found, neighbours=3, alpha=0.5)
    assert held_out.distance[0] == 0 and (held_out.distance == 0).all() and held_out.ratio[0] == 0
    with pytest.raises(InputError, match="`flips` is for images"):
        find_duplicates(x, flips=True)
