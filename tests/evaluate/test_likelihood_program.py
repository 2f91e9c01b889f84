"""`jaxdiff evaluate likelihood`: bits per dimension, images and conditions."""

import json
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from evaluate.__main__ import main
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import unet
from jaxdiff.probability_flow import bits_per_dimension
from jaxdiff.process import vp_cosine

COUNT, BATCH, STEPS = 6, 4, 2
QUICK = ["--split", "all", "--count", str(COUNT), "--batch-size", str(BATCH), "--steps", str(STEPS)]
GROUP = Attribute("group", ("square", "round"))


def saved(folder, weight=0.0, attributes=(GROUP,)) -> Path:
    """Saves a model with weights `weight` times standard normal, and returns its folder."""
    values = tuple(len(attribute.values) for attribute in attributes)
    config = UNetConfig(
        size=8, values=values, base=16, multipliers=(1,), blocks=0, attention=(), head_channels=16, dropout=0.0, stem=2
    )
    made, rng = jax.eval_shape(partial(unet, config), jax.random.key(0)), np.random.default_rng(5)
    weights = jax.tree.map(lambda w: jnp.asarray(weight * rng.standard_normal(w.shape, np.float32)), made.weights)
    models.save(
        folder, models.image_model(config, type(made)(weights, made.structure), vp_cosine(), "v", attributes, {"steps": 7})
    )
    return folder


def npz(path, names=("round", "square"), attribute="group", count=12) -> tuple[np.ndarray, np.ndarray]:
    """Images without black or white, and their labels."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(10, 245, (count, 8, 8, 3), np.uint8), np.arange(count) % 2
    np.savez(path, images=images, labels=labels, attributes=[attribute], **{f"values_{attribute}": list(names)})
    return images, labels


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "likelihood")


def report(tmp_path, name="report.json"):
    return json.loads((tmp_path / name).read_text(), parse_constant=pytest.fail)


def chosen(seed=0, count=12) -> np.ndarray:
    """The images that the program takes: the first of a random permutation."""
    return np.random.default_rng(seed).permutation(count)[:COUNT]


def normal_bits(images) -> np.ndarray:
    """Bits per dimension of images under a standard normal in [-1, 1]."""
    pixels = images / 127.5 - 1
    return np.log2(127.5) + (0.5 * pixels**2 + 0.5 * np.log(2 * np.pi)).mean((1, 2, 3)) / np.log(2)


def test_zero_velocity_has_the_likelihood_of_a_standard_normal(evaluate, tmp_path, capsys):
    """v = 0 corresponds to the posterior mean of N(0, 1), for which the flow is the identity."""
    images, labels = npz(tmp_path / "data.npz")
    fingerprint = models.load(saved(tmp_path / "run")).fingerprint
    assert evaluate("--model", "run", "--data", "data.npz", "--out", "out/report.json", *QUICK) == 0
    found = report(tmp_path / "out")
    np.testing.assert_allclose(found["images"], normal_bits(images[chosen()]), atol=2e-3)  # of the dequantisation
    mean, error = found["bits_per_dimension"]["mean"], found["bits_per_dimension"]["standard_error"]
    assert mean == pytest.approx(np.mean(found["images"]))
    assert error == pytest.approx(np.std(found["images"], ddof=1) / COUNT**0.5)
    for code, name in enumerate(("round", "square")):
        own = np.array(found["images"])[labels[chosen()] == code]
        each = found["by_value"]["group"][name]
        assert (each["count"], each["mean"]) == (len(own), pytest.approx(own.mean()))
    assert (found["model"], found["model_training"], found["data"]) == (fingerprint, {"steps": 7}, "data.npz (split 'all')")
    assert found["options"]["condition"] == "own" and found["process"] == vp_cosine().config()
    assert {"command", "versions", "machine", "seconds"} <= found.keys()
    assert not list((tmp_path / "out").glob("*.partial"))
    printed = capsys.readouterr().out
    assert f"{mean:.4f}" in printed and "group: round" in printed and "out/report.json" in printed


@pytest.mark.parametrize("condition", ["own", "null"])
def test_condition_is_own_labels_or_the_null_label(evaluate, tmp_path, condition):
    images, labels = npz(tmp_path / "data.npz")
    saved(tmp_path / "run", weight=0.2)
    given = ["--model", "run", "--data", "data.npz", "--out", "report.json", "--seed", "3", *QUICK]
    assert evaluate(*given, "--condition", condition) == 0
    model, rows = models.load(tmp_path / "run"), chosen(seed=3)

    def direct(label, positions):
        return bits_per_dimension(
            model.denoise, model.process, images[rows[positions]], key=jax.random.key(3), steps=STEPS,
            condition=model.conditions.encode(label[rows[positions]]), indices=np.arange(len(positions)) + positions[0],
        )  # fmt: skip

    # the data call round 0, the model calls it 1
    label = 1 - labels if condition == "own" else np.full(len(labels), -1)
    found = report(tmp_path)["images"]
    np.testing.assert_allclose(found[:BATCH], direct(label, np.arange(4)), rtol=1e-4)
    np.testing.assert_allclose(found[BATCH:], direct(label, np.array([4, 5, 5, 5]))[:2], rtol=1e-4)
    others = np.zeros(len(labels), int) if condition == "null" else labels
    assert np.abs(direct(others, np.arange(4)) - np.array(found[:BATCH])).min() > 1e-3


def test_unconditional_model_takes_images_with_any_attribute(evaluate, tmp_path):
    npz(tmp_path / "data.npz", attribute="tone")
    saved(tmp_path / "run", attributes=())
    assert evaluate("--model", "run", "--data", "data.npz", "--out", "report.json", *QUICK) == 0
    assert report(tmp_path)["by_value"].keys() == {"tone"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "absent"], ["no model at absent"]),
        (["--data", "absent"], ["no data", "absent"]),
        (["--data", "other.npz"], ["unknown attribute 'group'", "tone"]),
        (["--data", "named.npz"], ["group", "named.npz", "oval", "square, round", "--value-names", "--condition null"]),
        (["--count", "13"], ["count", "12", "13"]),
        (["--count", "0"], ["--count", "0"]),
        (["--steps", "0"], ["--steps", "0"]),
        (["--probes", "0"], ["--probes", "0"]),
        (["--batch-size", "0"], ["--batch-size", "0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--value-names", "group"], ["ATTRIBUTE=NAME"]),
        (["--out", "data.npz/report.json"], ["cannot write --out data.npz/report.json: Not a directory"]),
        (["--out", "report"], ["--out", ".json", "report"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(evaluate, monkeypatch, tmp_path, capsys, arguments, words):
    saved(tmp_path / "run")
    npz(tmp_path / "data.npz")
    npz(tmp_path / "other.npz", attribute="tone")
    npz(tmp_path / "named.npz", names=("oval", "square"))
    monkeypatch.setattr("evaluate.likelihood._bits", lambda *_: pytest.fail("a likelihood was computed"))
    given = {"--model": "run", "--data": "data.npz", "--split": "all", "--out": "report.json"}
    given |= dict(zip(arguments[::2], arguments[1::2], strict=True))
    assert evaluate(*(word for pair in given.items() for word in pair)) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert "Traceback" not in error and not (tmp_path / "report.json").exists()


def test_help_has_examples(evaluate, capsys):
    assert evaluate("--help") == 0
    assert capsys.readouterr().out.count("jaxdiff evaluate likelihood --model") >= 3


def test_a_killed_command_resumes_where_it_was(evaluate, written, resumed, tmp_path):
    saved(tmp_path / "run")
    images, _ = npz(tmp_path / "data.npz")
    arguments = ("--model", "run", "--data", "data.npz", *QUICK, "--batch-size", "1", "--out", "x/report.json")
    printed = resumed(evaluate, tmp_path / "x", "report.json", arguments, 1)
    assert len(written) == 2 and "resuming: 1 of 2 blocks were finished (likelihood)" in printed
    # the blocks, of four images and of two, are in order
    np.testing.assert_allclose(report(tmp_path, "x/report.json")["images"], normal_bits(images[chosen()]), atol=2e-3)
