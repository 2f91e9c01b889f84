"""Grey images that are not square, in the whole pipeline: training, drawing, search, evaluation and the report page."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

import evaluate.__main__
import sample.__main__
import train.__main__
from jaxdiff import model as models
from jaxdiff.data import load_arrays
from jaxdiff.models.config import UNetConfig
from jaxdiff.presets import PRESETS, Preset
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels

SHAPE = (24, 40, 1)
NETWORK = UNetConfig(base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of 160 grey images of two groups, which are dark and bright."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    rows = ["file,split,group"]
    for i in range(160):
        bright = i % 2
        Image.fromarray(rng.integers(90 * bright, 160 + 90 * bright, SHAPE[:2], np.uint8)).save(folder / f"{i}.png")
        rows.append(f"{i}.png,{'train' if i < 96 else 'test'},{('dark', 'bright')[bright]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def quick(call_program, monkeypatch):
    """Runs a program; training is of the smallest network."""
    monkeypatch.setitem(PRESETS, "tiny", Preset("for tests", NETWORK, steps=4, batch_size=8))
    programs = {"train": train.__main__, "sample": sample.__main__, "evaluate": evaluate.__main__}
    return lambda name, *arguments: call_program(programs[name].main, name, *arguments)


def mode(path) -> str:
    """Pillow's mode of an image file."""
    with Image.open(path) as image:
        return image.mode


@pytest.mark.slow
def test_a_grey_folder_is_trained_on_drawn_evaluated_and_shown(data, quick, tmp_path, capsys):
    run = partial(quick)
    assert run("train", "--data", data, "--attributes", "group", "--size", "24x40", "--preview-every", "4", "--out", "run") == 0
    assert "24x40 grey" in " ".join(capsys.readouterr().out.split())
    model = models.load(tmp_path / "run")
    assert model.shape == SHAPE and model.space == Pixels(*SHAPE)
    solver = ("--solver", "ddim", "--steps", "2")
    assert run("sample", "search", "--model", "run", *solver, "--batch", "4", "--metric", "whitened") == 0
    drawn = {}
    for method, storage in (("vanilla", "png"), ("switching", "npz")):
        arguments = ("--method", method, "--count", "40", "--batch-size", "8", "--format", storage, "--out", method)
        assert run("sample", "draw", "--model", "run", *solver, *arguments) == 0
        drawn[method] = load_arrays(SampleSet.open(tmp_path / method))[0]
        assert drawn[method].shape == (40, *SHAPE) and drawn[method].dtype == np.uint8
        assert mode(tmp_path / method / "preview.png") == "RGB"
    assert mode(tmp_path / "vanilla" / "images" / "0000000.png") == "L"
    assert (drawn["vanilla"] != drawn["switching"]).any()
    quickly = ("--seeds", "1", "--steps", "3", "--batch", "8", "--permutations", "9", "--replicates", "20")
    sets = ("--synthetic", "vanilla", "switching", "--real", data, "--attribute", "group")
    assert run("evaluate", "fairness", *sets, *quickly, "--out", "report") == 0
    assert len(json.loads((tmp_path / "report" / "report.json").read_text())["synthetic"]) == 2
    assert run("evaluate", "report", "--fairness", "report", "--out", "page") == 0
    assert (tmp_path / "page" / "report.html").read_text().count("data:image/webp") >= 3


def test_a_guard_and_a_likelihood_take_grey_images(data, quick, save_model, tmp_path):
    save_model(tmp_path / "run", size=SHAPE[:2], channels=1)
    solver = ("--solver", "ddim", "--steps", "4", "--count", "8", "--batch-size", "8")
    arguments = ("--model", "run", "--unsafe", f"{data}:group=bright", "--unsafe-count", "4", *solver, "--out", "safe")
    assert quick("sample", "draw", *arguments) == 0
    assert SampleSet.open(tmp_path / "safe").image(0).shape == SHAPE
    options = ("--model", "run", "--data", data, "--condition", "null", "--count", "4", "--batch-size", "4", "--steps", "2")
    assert quick("evaluate", "likelihood", *options, "--out", "bits.json") == 0
    bits = json.loads((tmp_path / "bits.json").read_text())["images"]
    assert len(bits) == 4 and np.isfinite(bits).all()


def test_sets_of_other_channels_are_an_error_that_says_how_to_convert_them(data, quick, tmp_path, capsys):
    images = np.zeros((8, *SHAPE[:2], 3), np.uint8)
    np.savez(tmp_path / "colour.npz", images=images, labels=np.array(["dark", "bright"] * 4), attributes=["group"])
    arguments = ("--synthetic", "colour.npz", "--real", data, "--attribute", "group", "--out", "report")
    assert quick("evaluate", "fairness", *arguments) == 2
    output = " ".join(capsys.readouterr().err.split())
    for words in ("24x40 RGB", "24x40 grey", "--size and --channels"):
        assert words in output
