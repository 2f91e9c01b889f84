"""`jaxdiff evaluate memorization`: copies, training images at risk, and the membership attack."""

import json
from functools import partial

import jax
import numpy as np
import pytest
from PIL import Image

from evaluate.__main__ import main
from jaxdiff import model as models
from jaxdiff.data import load_arrays, open_data
from jaxdiff.safety.membership import attack_losses, membership_attack

COUNTS = {"train": 300, "test": 120}


def drawn(rng, count, size=8):
    """Images of random colour, slope and noise."""
    shape = (count, size, size, 3)
    slope = np.linspace(-1, 1, size)[:, None] * rng.normal(0, 40, (count, 1, 1, 3))
    return np.clip(128 + rng.normal(0, 60, (count, 1, 1, 3)) + slope + rng.normal(0, 30, shape), 0, 255).astype(np.uint8)


@pytest.fixture
def data(tmp_path, rng):
    """Writes data.npz, copies.npz (10 of 60 are copies of training images, one mirrored) and fresh.npz; returns the training
    images."""
    images, labels = drawn(rng, sum(COUNTS.values())), np.arange(sum(COUNTS.values())) % 2
    images[250:260] = images[3]  # duplicates of an image that is copied
    named = {"attributes": ["group"], "values_group": ["square", "round"]}
    np.savez(tmp_path / "data.npz", images=images, labels=labels, split=np.repeat(list(COUNTS), list(COUNTS.values())), **named)
    copies = images[:10] ^ rng.integers(0, 2, (10, 8, 8, 3), dtype=np.uint8)
    copies[9] = copies[9, :, ::-1]
    np.savez(tmp_path / "copies.npz", images=np.concatenate([drawn(rng, 50), copies]))
    np.savez(tmp_path / "fresh.npz", images=drawn(rng, 60))
    return images[:300]


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "memorization")


def report(tmp_path, name="out"):
    return json.loads((tmp_path / name / "memorization.json").read_text(), parse_constant=pytest.fail)


def test_copies_are_found_and_their_originals_are_at_risk(evaluate, tmp_path, data, capsys):
    assert evaluate("--samples", "copies.npz", "fresh.npz", "--train", "data.npz", "--out", "out") == 0
    printed, content = " ".join(capsys.readouterr().out.split()), report(tmp_path)
    copies, fresh = content["sets"]
    assert [each["name"] for each in content["sets"]] == ["copies.npz", "fresh.npz"]
    assert copies["count"] == fresh["count"] == [60, 60]
    assert copies["memorised"]["share"] >= 1 / 6 and copies["memorised"]["excess_interval"][0] > 0.04
    assert fresh["memorised"]["excess_interval"][0] < 0 and copies["isolated"]["share"] >= 1 / 6
    assert copies["memorised"]["held_out"] == fresh["memorised"]["held_out"]
    known = content["train"]
    assert (known["count"], known["distinct"], known["exact_duplicates"], known["largest_group"]) == (300, 290, 10, 11)
    assert known["duplicates_within"] > 0 and content["membership"] == []

    # every image of the set, in random order, and as many held-out images
    images = np.load(tmp_path / "copies.npz")["images"][np.random.default_rng(0).permutation(60)]
    near = copies["images"]
    squares = np.square(images[:, None].astype(float) - np.stack([data, data[:, :, ::-1]], 1).reshape(-1, 8, 8, 3)).mean(
        (2, 3, 4)
    )
    np.testing.assert_allclose(near["distance"], np.sqrt(squares.min(axis=1)))
    assert (np.array(near["nearest"]) == squares.argmin(axis=1) // 2).all()
    assert len(content["held_out"]["images"]["distance"]) == 60

    below = sorted(zip(near["ratio"] + fresh["images"]["ratio"], near["nearest"] + fresh["images"]["nearest"], strict=True))
    expected = list(dict.fromkeys(index for ratio, index in below if ratio < 1))
    assert content["at_risk"] == expected and set(range(10)) <= set(expected)
    source = open_data(tmp_path / "out" / "at_risk.npz")
    found, labels = load_arrays(source)
    np.testing.assert_array_equal(found, data[expected])
    assert source.attributes[0].name == "group" and source.attributes[0].values == ("square", "round")
    assert labels[:, 0].tolist() == [index % 2 for index in expected]

    markdown = (tmp_path / "out" / "memorization.md").read_text()
    for words in ("| real, for copies.npz |", "| fresh.npz |", "290 without duplicates", "closest.png", "excess"):
        assert words in markdown
    assert f"{100 * copies['memorised']['share']:.1f} [" in markdown
    assert "copies.npz" in printed and "real, held out" in printed and f"at_risk.npz, {len(expected)} training" in printed
    with Image.open(tmp_path / "out" / "closest.png") as picture:
        assert picture.size[0] > 800
    assert {"command", "options", "versions", "machine", "seconds"} <= content.keys()
    assert not list((tmp_path / "out").glob("*.partial"))


def test_options_flips_alpha_and_neighbours(evaluate, tmp_path, data):
    np.savez(tmp_path / "mirrored.npz", images=(data[:20, :, ::-1] + np.arange(8, dtype=np.uint8)[:, None]))
    near = {}
    for name, given in {
        "with": [],
        "without": ["--no-flips"],
        "strict": ["--alpha", "0.01"],
        "few": ["--neighbours", "2"],
    }.items():
        assert evaluate("--samples", "mirrored.npz", "--train", "data.npz", "--out", name, *given) == 0
        near[name] = report(tmp_path, name)["sets"][0]
    assert np.mean(near["with"]["images"]["mirrored"]) > 0.5 and not any(near["without"]["images"]["mirrored"])
    assert near["with"]["distance"][2] < near["without"]["distance"][2]
    np.testing.assert_allclose(np.array(near["strict"]["images"]["ratio"]), 50 * np.array(near["with"]["images"]["ratio"]))
    gap = np.array(near["few"]["images"]["gap"])
    np.testing.assert_allclose(near["few"]["images"]["ratio"], gap / (0.5 * (gap + 1) / 2))


def test_an_old_at_risk_file_is_removed(evaluate, tmp_path, data, capsys):
    assert evaluate("--samples", "copies.npz", "--train", "data.npz", "--out", "out") == 0
    assert (tmp_path / "out" / "at_risk.npz").exists()
    np.savez(tmp_path / "far.npz", images=np.random.default_rng(1).integers(0, 256, (40, 8, 8, 3), np.uint8))
    assert evaluate("--samples", "far.npz", "--train", "data.npz", "--out", "out", "--duplicates", "0", "--count", "30") == 0
    assert not (tmp_path / "out" / "at_risk.npz").exists()
    assert "no training image is at risk" in " ".join(capsys.readouterr().out.split())
    content = report(tmp_path)
    assert content["sets"][0]["count"] == [30, 30] and content["train"]["duplicates_within"] == 0


@pytest.mark.parametrize("condition", ["own", pytest.param("null", marks=pytest.mark.slow)])
def test_membership_attack_at_each_time_and_condition(evaluate, tmp_path, data, save_model, capsys, condition):
    save_model(tmp_path / "run")
    status = evaluate(
        "--samples", "fresh.npz", "--train", "data.npz", "--out", "out", "--model", "run", "--times", "0.1", "0.4",
        "--draws", "2", "--members", "100", "--condition", condition, "--seed", "3", "--batch-size", "60",
    )  # fmt: skip
    assert status == 0
    printed = capsys.readouterr().out
    model, content = models.load(tmp_path / "run"), report(tmp_path)
    assert content["model"] == model.fingerprint and [each["t"] for each in content["membership"]] == [0.1, 0.4]
    arrays = np.load(tmp_path / "data.npz")
    rng = lambda: np.random.default_rng(3)  # noqa: E731
    for each in content["membership"]:
        losses = []
        for split, chosen in (("train", rng().permutation(300)[:100]), ("test", rng().permutation(120)[:100])):
            rows = np.flatnonzero(arrays["split"] == split)[chosen]
            labels = arrays["labels"][rows] if condition == "own" else np.full(100, -1)
            x0 = arrays["images"][rows].astype(np.float32) / 127.5 - 1

            def direct(part, x0=x0, labels=labels, t=each["t"]):
                given = {"key": jax.random.key(3), "t": t, "draws": 2, "condition": model.conditions.encode(labels[part])}
                return np.asarray(attack_losses(model.denoise, model.process, x0[part], **given))

            losses.append(np.concatenate([direct(slice(60)), direct(slice(40, 100))[20:]]))
        expected = membership_attack(*losses, seed=3)
        assert each["count"] == [100, 100] and each["condition"] == condition
        assert each["auc"]["value"] == pytest.approx(expected.auc.value, abs=2e-4)
        assert each["mean_loss"] == pytest.approx([float(of.mean()) for of in losses], rel=1e-4)
        assert each["snr"] == pytest.approx(float(model.process.snr(each["t"])))
        assert f"{each['auc']['value']:.3f} [" in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--samples", "absent"], ["no data", "absent"]),
        (["--samples", "large.npz"], ["large.npz", "16x16", "data.npz", "8x8", "--size"]),
        (["--samples", "fresh.npz", "fresh.npz"], ["--samples", "different"]),
        (["--train", "absent"], ["no data", "absent"]),
        (["--train", "few.npz"], ["--neighbours 50", "few.npz", "40"]),
        (["--train", "same.npz"], ["--neighbours, 50", "60 images", "59 are duplicates"]),
        (["--train", "leaked.npz"], ["--held-out", "all 5 are training images"]),
        (["--split", "test"], ["--held-out", "--split", "test"]),
        (["--held-out", "validation"], ["validation", "empty"]),
        (["--neighbours", "1"], ["--neighbours", "at least 2", "1"]),
        (["--alpha", "0"], ["--alpha", "0"]),
        (["--duplicates", "-1"], ["--duplicates", "-1"]),
        (["--count", "0"], ["--count", "0"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--members", "99"], ["--members", "100", "99"]),
        (["--times", "0"], ["--times", "(0, 1]", "0"]),
        (["--model", "absent"], ["no model at absent"]),
        (["--model", "run", "--size", "16"], ["--size", "8x8 RGB", "16"]),
        (["--model", "run", "--train", "unlabelled.npz"], ["group", "unlabelled.npz"]),
        (["--model", "run", "--train", "named.npz"], ["oval", "square, round", "--condition null"]),
        (["--model", "run", "--train", "leaked.npz"], ["at least 100 held-out images", "leaked.npz", "5"]),
        (["--value-names", "group"], ["ATTRIBUTE=NAME"]),
        (["--out", "data.npz"], ["--out", "data.npz"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(evaluate, tmp_path, data, save_model, rng, capsys, arguments, words):
    save_model(tmp_path / "run")
    np.savez(tmp_path / "large.npz", images=drawn(rng, 5, 16))
    split = lambda train, test: np.repeat(["train", "test"], [train, test])  # noqa: E731
    np.savez(tmp_path / "few.npz", images=drawn(rng, 80), split=split(40, 40))
    one = np.concatenate([np.repeat(drawn(rng, 1), 60, axis=0), drawn(rng, 40)])
    np.savez(tmp_path / "same.npz", images=one, split=split(60, 40))
    named = {"labels": np.arange(65) % 2, "attributes": ["group"]}
    leaked = np.concatenate([data[:60], data[:5]])
    np.savez(tmp_path / "leaked.npz", images=leaked, split=split(60, 5), values_group=["square", "round"], **named)
    np.savez(tmp_path / "named.npz", images=leaked, split=split(60, 5), values_group=["square", "oval"], **named)
    np.savez(tmp_path / "unlabelled.npz", images=data)
    given = {"--samples": "fresh.npz", "--train": "data.npz", "--out": "out"}
    left = (word for name, value in given.items() if name not in arguments for word in (name, value))
    assert evaluate(*arguments, *left) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    # finished parts at most
    left = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert "Traceback" not in error and {file.suffix for file in left} <= {".part"}


def test_help_has_examples(evaluate, capsys):
    assert evaluate("--help") == 0
    assert capsys.readouterr().out.count("jaxdiff evaluate memorization --samples") >= 4


@pytest.mark.slow
def test_a_killed_command_resumes_where_it_was(evaluate, written, resumed, tmp_path, data, save_model):
    """Killed among the sets, and among the blocks of losses."""
    save_model(tmp_path / "run")
    given = ("--samples", "copies.npz", "fresh.npz", "--train", "data.npz", "--model", "run", "--out", "out")
    arguments = (*given, "--members", "100", "--times", "0.1", "0.4", "--draws", "1", "--batch-size", "16")
    printed = resumed(evaluate, tmp_path / "out", "memorization.json", arguments, 2, 7)
    # the duplicates, held-out images and two sets; of 100 images at a time, a block of 64 and one of 36
    assert [key.split("-")[0] for key in written] == ["duplicates"] + ["closeness"] * 3 + ["losses"] * 8
    assert "resuming: 3 of 8 blocks were finished (membership attack)" in printed
