"""`python -m evaluate fairness` judges what any program wrote, and refuses what it cannot judge."""

import json
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evaluate.__main__ import main

QUICK = ["--steps", "30", "--batch", "16", "--seeds", "2", "--permutations", "19", "--replicates", "100"]


def drawn(count, seed, size=16):
    """Dark and bright images with their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % 2)
    images = np.where(labels, 170, 85)[:, None, None, None] + rng.normal(0, 10, (count, size, size, 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


def npz(path, images, labels, names=("dark", "bright"), attribute="tone"):
    np.savez(path, images=images, labels=labels, attributes=[attribute], **{f"values_{attribute}": list(names)})
    return str(path)


def folder(path, images, labels, names=("dark", "bright"), attribute="tone"):
    path.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(path / f"{i:03}.png")
    rows = [f"{i:03}.png,{label}" for i, label in enumerate(labels)]
    (path / "labels.csv").write_text("\n".join([f"file,{attribute}", *rows]) + "\n")
    (path / "attributes.json").write_text(json.dumps({attribute: list(names)}))
    return str(path)


@pytest.fixture
def evaluate(call_program):
    """Runs the program; gives its exit status, 0 where it returns."""
    return partial(call_program, main, "evaluate")


@pytest.fixture
def real(tmp_path):
    return npz(tmp_path / "real.npz", *drawn(400, seed=0))


def test_folders_and_npz_files_are_judged_and_reported(evaluate, tmp_path, real, capsys):
    images, labels = drawn(80, seed=1)
    sets = [
        folder(tmp_path / "train", images, labels),
        npz(tmp_path / "turned.npz", images, 1 - labels),
        npz(tmp_path / "renamed.npz", images, 1 - labels, names=("bright", "dark")),
    ]
    status = evaluate("fairness", "--synthetic", *sets, "--real", real, "--attribute", "tone", "--out", "report", *QUICK)
    printed = capsys.readouterr().out
    assert status == 0, printed
    report = json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    assert (report["attribute"], report["values"], report["train_count"]) == ("tone", ["dark", "bright"], 40)
    assert report["training"]["images_seen"] == 30 * 16
    assert [each["name"] for each in report["synthetic"]] == ["train", "turned.npz", "renamed.npz"]
    told, turned, renamed = (each["directions"] for each in report["synthetic"])
    assert report["real"]["directions"]["real->real"]["ber"] < 10
    for direction in ("synthetic->real", "real->synthetic", "synthetic->synthetic"):
        assert told[direction]["ber"] < 10 and renamed[direction]["ber"] < 10
        assert len(told[direction]["per_seed"]["ber"]) == 2
        low, high = told[direction]["intervals"]["ber"]
        assert low <= told[direction]["ber"] <= high
    assert turned["synthetic->real"]["ber"] > 90 and turned["synthetic->real"]["folded_ber"] < 10
    assert told["real->synthetic"]["count"] == [40, 40] and told["synthetic->synthetic"]["count"] == [20, 20]
    energy = report["synthetic"][0]["energy"]
    assert energy.keys() == {"pixels", "features"}
    assert energy["pixels"][0]["values"] == ["dark", "bright"] and energy["pixels"][0]["p_value"] == 0.05
    assert {"command", "options", "versions", "machine", "seconds"} <= report.keys()

    markdown = (tmp_path / "report" / "report.md").read_text()
    for word in (
        "Real",
        "train",
        "turned.npz",
        "synthetic->real",
        "real->synthetic",
        "synthetic->synthetic",
        "not independence",
    ):
        assert word in " ".join(markdown.split())
    overview, *by_direction = [line for line in markdown.splitlines() if line.startswith("| Real")]
    assert all(len(row.split("|")) == 12 for row in by_direction[:3])
    # the overview has the BER and the distances of the tables below it
    assert overview.count(f"{report['real']['directions']['real->real']['ber']:.1f} [") == 3
    turned_row = next(line for line in markdown.splitlines() if line.startswith("| turned.npz"))
    for direction, cell in zip(turned, turned_row.split("|")[2:5], strict=True):
        assert cell.strip().startswith(f"{turned[direction]['ber']:.1f} [")
    assert f"{report['synthetic'][1]['energy']['pixels'][0]['distance']:.3f} (0.05" in turned_row
    with Image.open(tmp_path / "report" / "report.png") as picture:
        assert picture.size[0] > 400
    assert not list((tmp_path / "report").glob("*.partial"))
    assert "folded" in printed and "S=1 is bright" in printed


def test_values_choose_images_and_sizes_are_brought_together(evaluate, tmp_path):
    rng = np.random.default_rng(0)

    def three(name, size, seed):
        images, labels = drawn(300, seed, size)
        images[200:], labels[200:] = rng.integers(0, 255, images[200:].shape), 2
        return npz(tmp_path / name, images, labels, names=("dark", "bright", "noise"))

    status = evaluate(
        "fairness", "--synthetic", three("small.npz", 16, 1), "--real", three("real.npz", 24, 0), "--attribute", "tone",
        "--values", "bright", "dark", "--size", "16", "--out", "report", "--train-count", "20", *QUICK,
    )  # fmt: skip
    assert status == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert report["values"] == ["bright", "dark"] and report["train_count"] == 20
    assert sum(report["synthetic"][0]["count"]) == 200


def test_integer_labels_are_named_on_the_command_line(evaluate, tmp_path, real):
    images, labels = drawn(40, seed=1)
    np.savez(tmp_path / "plain.npz", images=images, labels=labels, attributes=["tone"])
    arguments = ["fairness", "--synthetic", "plain.npz", "--real", real, "--attribute", "tone", "--out", "report", *QUICK]
    assert evaluate(*arguments) == 2  # 0 and 1 are not dark and bright
    assert evaluate(*arguments, "--value-names", "tone=dark,bright") == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--synthetic", "absent"], ["absent"]),
        (["--synthetic", "large.npz"], ["large.npz", "32x32", "real.npz", "16x16", "--size"]),
        (["--synthetic", "fine.npz", "--real", "fine.npz"], ["fine.npz (split", "at least 4 images of every value"]),
        (["--synthetic", "onesided.npz"], ["onesided.npz", "no image", "bright"]),
        (["--synthetic", "named.npz"], ["named.npz", "black, white", "dark, bright"]),
        (["--synthetic", "other.npz"], ["unknown attribute 'tone'", "other.npz"]),
        (["--synthetic", "fine.npz", "fine.npz"], ["distinct"]),
        (["--synthetic", "fine.npz", "--train-count", "21"], ["train_count", "20", "fine.npz", "21"]),
        (["--synthetic", "fine.npz", "--values", "dark"], ["two or more", "dark"]),
        (["--synthetic", "fine.npz", "--values", "dark", "blue"], ["dark, blue"]),
        (["--synthetic", "fine.npz", "--value-names", "tone"], ["ATTRIBUTE=NAME"]),
        (["--synthetic", "fine.npz", "--seeds", "0"], ["--seeds", "0"]),
        (["--synthetic", "fine.npz", "--out", "fine.npz"], ["--out", "fine.npz"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(evaluate, tmp_path, real, capsys, arguments, words):
    images, labels = drawn(40, seed=1)
    npz(tmp_path / "fine.npz", images, labels)
    npz(tmp_path / "large.npz", *drawn(40, seed=1, size=32))
    npz(tmp_path / "onesided.npz", images, np.zeros(40, int))
    npz(tmp_path / "named.npz", images, labels, names=("black", "white"))
    npz(tmp_path / "other.npz", images, labels, attribute="shade")
    out = [] if "--out" in arguments else ["--out", "report"]
    assert evaluate("fairness", "--real", "real.npz", *arguments, "--attribute", "tone", *out) == 2
    told = capsys.readouterr().err
    for word in words:
        assert word in told
    assert "Traceback" not in told and not (tmp_path / "report").exists()


def test_help_teaches_by_example(evaluate, capsys):
    assert evaluate("fairness", "--help") == 0
    assert capsys.readouterr().out.count("python -m evaluate fairness --synthetic") >= 3
