"""`jaxdiff evaluate fairness` with images from folders and arrays: reports, and errors for wrong input."""

import io
import json
import os
from functools import partial

import numpy as np
import pytest
from PIL import Image

from evaluate.__main__ import main
from evaluate.page_table import OPTIONAL, present, result_rows, table
from jaxdiff import image_classifier
from jaxdiff.data import Attribute
from jaxdiff.data.readers import npz as npz_reader
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.data.layouts import write_tar
from tests.evaluate.conftest import Killed

pytestmark = pytest.mark.usefixtures("small_classifiers")

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
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate")


@pytest.fixture
def real(tmp_path):
    return npz(tmp_path / "real.npz", *drawn(400, seed=0))


def test_folders_and_npz_files_are_evaluated(evaluate, tmp_path, real, capsys):
    images, labels = drawn(80, seed=1)
    sets = [
        folder(tmp_path / "train", images, labels),
        npz(tmp_path / "swapped.npz", images, 1 - labels),
        npz(tmp_path / "renamed.npz", images, 1 - labels, names=("bright", "dark")),
    ]
    status = evaluate("fairness", "--synthetic", *sets, "--real", real, "--attribute", "tone", "--out", "report", *QUICK)
    printed = capsys.readouterr().out
    assert status == 0, printed
    report = json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    assert (report["attribute"], report["values"], report["train_count"]) == ("tone", ["dark", "bright"], 40)
    assert report["training"]["images_seen"] == 30 * 16
    assert [each["name"] for each in report["synthetic"]] == ["train", "swapped.npz", "renamed.npz"]
    kept, swapped, renamed = (each["directions"] for each in report["synthetic"])
    assert report["real"]["directions"]["real->real"]["ber"] < 10
    for direction in ("synthetic->real", "real->synthetic", "synthetic->synthetic"):
        assert kept[direction]["ber"] < 10 and renamed[direction]["ber"] < 10
        assert len(kept[direction]["per_seed"]["ber"]) == 2
        low, high = kept[direction]["intervals"]["ber"]
        assert low <= kept[direction]["ber"] <= high
    assert swapped["synthetic->real"]["ber"] > 90 and swapped["synthetic->real"]["folded_ber"] < 10
    assert kept["real->synthetic"]["count"] == [40, 40] and kept["synthetic->synthetic"]["count"] == [20, 20]
    energy = report["synthetic"][0]["energy"]
    assert energy.keys() == {"pixels", "features"}
    assert energy["pixels"][0]["values"] == ["dark", "bright"] and energy["pixels"][0]["p_value"] == 0.05
    assert {"command", "options", "versions", "machine", "seconds"} <= report.keys()

    markdown = (tmp_path / "report" / "report.md").read_text()
    for word in (
        "Real",
        "train",
        "swapped.npz",
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
    swapped_row = next(line for line in markdown.splitlines() if line.startswith("| swapped.npz"))
    for direction, cell in zip(swapped, swapped_row.split("|")[2:5], strict=True):
        assert cell.strip().startswith(f"{swapped[direction]['ber']:.1f} [")
    assert f"{report['synthetic'][1]['energy']['pixels'][0]['distance']:.3f} (0.05" in swapped_row
    with Image.open(tmp_path / "report" / "report.png") as picture:
        assert picture.size[0] > 400
    assert not list((tmp_path / "report").glob("*.partial"))
    assert "folded" in printed and "S=1 is bright" in printed


def save_with_sides(path, count, seed):
    """Images with two independent attributes: dark or bright, and lit on the left or on the right; returns the labels."""
    images, labels = drawn(count, seed)
    sides = np.random.default_rng(seed + 1).permutation(np.arange(count) // 2 % 2)
    lit = np.where(np.arange(16)[None, None, :, None] // 8 == sides[:, None, None, None], 40, 0)
    np.savez(
        path, images=np.clip(images + lit, 0, 255).astype(np.uint8), labels=np.stack([labels, sides], 1),
        attributes=["tone", "side"], values_tone=["dark", "bright"], values_side=["left", "right"],
    )  # fmt: skip
    return np.stack([labels, sides], 1)


def test_quality_label_accuracy_and_parity_are_reported(evaluate, tmp_path, capsys):
    """Real labels are all kept; swapped labels have an accuracy of 0; sides equal to the label are far from parity."""
    save_with_sides(tmp_path / "real.npz", 600, 0)
    labels = save_with_sides(tmp_path / "fair.npz", 200, 5)
    with np.load(tmp_path / "fair.npz") as arrays:
        fair = dict(arrays)
    kept = labels[:, 0] == labels[:, 1]
    np.savez(tmp_path / "swapped.npz", **{**fair, "labels": np.stack([1 - labels[:, 0], labels[:, 1]], 1)})
    np.savez(tmp_path / "biased.npz", **{**fair, "images": fair["images"][kept], "labels": labels[kept]})
    status = evaluate(
        "fairness", "--synthetic", "fair.npz", "swapped.npz", "biased.npz", "--real", "real.npz", "--attribute", "tone",
        "--associated", "all", "--out", "report", *QUICK, "--steps", "60", "--no-flip",
    )  # fmt: skip
    assert status == 0, capsys.readouterr()
    report = json.loads((tmp_path / "report" / "report.json").read_text(), parse_constant=pytest.fail)
    assert min(report["feature_accuracy"]["tone"] + report["feature_accuracy"]["side"]) > 0.9
    real, (fair, swapped, biased) = report["real"], report["synthetic"]
    assert min(each["retention"]["overall"] for each in (real, fair, biased)) > 0.95
    assert swapped["retention"]["overall"] < 0.05
    assert biased["parity"]["largest"]["value"] > 0.9
    for each in (real, fair, swapped, biased):
        directions, slack = each["directions"], each["slack"]
        ber = (directions.get("synthetic->synthetic") or directions["real->real"])["ber"]
        assert slack["value"] == pytest.approx(100 * (1 - np.mean(each["retention"]["groups"])) - ber)
        assert slack["interval"][0] <= slack["value"] <= slack["interval"][1]
    # the tone is erased, and the side is what is left: it tells the label of the biased set and of real ones nothing
    erasure = report["erasure"]
    assert erasure["weights"] == "counts" and erasure["classifiers"] == ["tone", "side"] and erasure["rank"] == 1
    assert biased["leak"]["linear"]["ber"] < 10 and "masked" not in biased["leak"]
    low, high = erasure["held_out"]["interval"]
    assert low <= erasure["held_out"]["ber"] <= high and erasure["blind"] == (high >= 50)
    shown = (tmp_path / "report" / "report.md").read_text()
    assert "BER, erased" in shown and "BER, masked" not in shown
    assert f"a linear classifier then has a BER of {erasure['held_out']['ber']:.1f}" in " ".join(shown.split()).replace(
        "\\", ""
    )
    # what swapped labels show is not their own value: all that predicts them is beyond it
    assert swapped["slack"]["value"] > 80 and max(abs(each["slack"]["value"]) for each in (real, fair)) < 10
    assert fair["parity"]["largest"]["value"] < fair["parity"]["largest"]["critical"] + 0.1
    # all sets are compared with equally many images of each group
    assert len({tuple(each["quality"]["count"]) for each in (real, fair, swapped, biased)}) == 1
    for each in (real, fair, biased):
        low, high = each["quality"]["intervals"]["frechet"]
        assert 0 <= low <= each["quality"]["frechet"] <= high
        assert all(group["frechet"] >= 0 for group in each["quality"]["groups"])
    # with swapped labels, each group is compared with real images of the other group
    assert min(g["frechet"] for g in swapped["quality"]["groups"]) > 10 * max(g["frechet"] for g in fair["quality"]["groups"])
    markdown = (tmp_path / "report" / "report.md").read_text()
    # findings are listed by name; images that show the label are not independent of it
    named = {each["name"]: {found["name"] for found in each["findings"]} for each in report["synthetic"]}
    assert named.keys() == {"fair.npz", "swapped.npz", "biased.npz"} and "findings" not in report["real"]
    assert "direction" in named["swapped.npz"] and "direction" not in named["fair.npz"]
    assert all("independence" in found for found in named.values())
    assert report["synthetic"][0]["real_comparison"]["copies"]["count"][0] == sum(report["real"]["quality"]["count"][1:])
    assert "| swapped.npz | direction |" in markdown and "random permutations of the labels" in markdown
    assert "quality against" in markdown and "| swapped.npz, dark |" in markdown and "label accuracy" in markdown
    assert f"| {report['synthetic'][0]['slack']['value']:.1f} [" in markdown.partition("## beyond the label")[2]
    rows = result_rows(report)
    page = table("", present(OPTIONAL, rows), ["set"] * 4, rows, [True] * 4)
    for each in rows:
        assert f">{each['slack']['value']:.1f}</span>" in page.partition("slack, %")[2]


def test_values_select_images_and_size_resizes_them(evaluate, tmp_path):
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


def test_value_names_name_integer_labels(evaluate, tmp_path, real):
    images, labels = drawn(40, seed=1)
    np.savez(tmp_path / "plain.npz", images=images, labels=labels, attributes=["tone"])
    arguments = ["fairness", "--synthetic", "plain.npz", "--real", real, "--attribute", "tone", "--out", "report", *QUICK]
    assert evaluate(*arguments) == 2  # 0 and 1 are not dark and bright
    assert evaluate(*arguments, "--value-names", "tone=dark,bright") == 0


def test_value_names_are_for_the_sets_that_do_not_name_their_values(evaluate, tmp_path, real):
    """Of three synthetic sets, an npz with codes, a tar of img2dataset's kind with codes, and a set of samples with names."""
    images, labels = drawn(40, seed=1)
    np.savez(tmp_path / "codes.npz", images=images, labels=labels, attributes=["tone"])
    members = {}
    for i, image in enumerate(images):
        Image.fromarray(image).save(file := io.BytesIO(), "PNG")
        members |= {f"{i:03}.png": file.getvalue(), f"{i:03}.json": json.dumps({"tone": int(labels[i])}).encode()}
    write_tar(tmp_path / "codes.tar", members)
    tone = Attribute("tone", ("dark", "bright"))
    samples = SampleSet.create(tmp_path / "set", {}, (tone,), labels[:, None].astype(np.int32), Pixels(16, 16))
    samples.write(0, images)
    samples.finish()
    status = evaluate(
        "fairness", "--synthetic", "codes.npz", "codes.tar", "set", "--real", real, "--attribute", "tone", "--out", "report",
        "--value-names", "tone=dark,bright", *QUICK,
    )  # fmt: skip
    assert status == 0
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert len({tuple(each["count"]) for each in report["synthetic"]}) == 1 and report["values"] == ["dark", "bright"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--synthetic", "absent"], ["absent"]),
        (["--synthetic", "large.npz"], ["large.npz", "32x32", "real.npz", "16x16", "--size"]),
        (["--synthetic", "fine.npz", "--real", "fine.npz"], ["fine.npz (split", "at least 4 images of each of"]),
        (["--synthetic", "onesided.npz"], ["onesided.npz", "no image", "bright"]),
        (["--synthetic", "named.npz"], ["named.npz", "black, white", "dark, bright"]),
        (["--synthetic", "other.npz"], ["unknown attribute 'tone'", "other.npz"]),
        (["--synthetic", "fine.npz", "fine.npz"], ["different sets"]),
        (["--synthetic", "fine.npz", "--train-count", "21"], ["--train-count", "20", "fine.npz", "21"]),
        (["--synthetic", "fine.npz", "--values", "dark"], ["two or more", "dark"]),
        (["--synthetic", "fine.npz", "--values", "dark", "blue"], ["dark, blue"]),
        (["--synthetic", "fine.npz", "--value-names", "tone"], ["ATTRIBUTE=NAME"]),
        (["--synthetic", "fine.npz", "--seeds", "0"], ["--seeds", "0"]),
        (["--synthetic", "fine.npz", "--associated", "hair"], ["--associated", "real.npz", "got hair"]),
        (["--synthetic", "fine.npz", "--inception", "absent.pth"], ["absent.pth"]),
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
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert "Traceback" not in error and not (tmp_path / "report").exists()


def test_help_has_examples(evaluate, capsys):
    assert evaluate("fairness", "--help") == 0
    assert capsys.readouterr().out.count("jaxdiff evaluate fairness --synthetic") >= 3


TWO_STEPS = ("--real", "real.npz", "--attribute", "tone", "--out", "report", *QUICK, "--steps", "2", "--replicates", "20")


def kinds(keys):
    """The kinds of parts, from their keys."""
    return [key.split("-")[0] for key in keys]


def test_a_killed_command_resumes_where_it_was(evaluate, written, resumed, tmp_path):
    """Killed among the classifiers of the sets, and among those of another attribute."""
    save_with_sides(tmp_path / "real.npz", 200, 0)
    save_with_sides(tmp_path / "a.npz", 40, 1)
    save_with_sides(tmp_path / "b.npz", 40, 2)
    arguments = ("fairness", "--synthetic", "a.npz", "b.npz", "--associated", "side", *TWO_STEPS)
    printed = resumed(evaluate, tmp_path / "report", "report.json", arguments, 4, 17)
    # features and quality of the reference and of three sets, then the classifiers of both attributes
    assert kinds(written) == [
        *["classifier", "classifier", "predictions"] * 3, *["features"] * 4, *["quality"] * 3, *["classifier"] * 2,
        # those without the label: by both classifiers, of the real test images, which it is fitted on too, and of two sets
        *["features"] * 6,
    ]  # fmt: skip
    assert "resuming: 9 of 9 parts were finished (evaluating)" in printed


def test_each_data_set_is_read_once(evaluate, tmp_path, monkeypatch):
    """Of splits, the attributes of tables and those of classifiers: once of all."""
    save_with_sides(tmp_path / "real.npz", 200, 0)
    save_with_sides(tmp_path / "a.npz", 40, 1)
    loaded, load = [], npz_reader.load_npz
    monkeypatch.setattr(npz_reader, "load_npz", lambda path: loaded.append(path.name) or load(path))
    arguments = ("fairness", "--synthetic", "a.npz", "--associated", "side", "--intersect", "side", *TWO_STEPS)
    assert evaluate(*arguments) == 0
    assert sorted(loaded) == ["a.npz", "real.npz"]


def test_a_changed_set_gets_no_answer_of_the_old_one(evaluate, written, real, tmp_path):
    arguments, (images, labels) = ("fairness", "--synthetic", "a.npz", *TWO_STEPS), drawn(40, seed=1)
    npz(tmp_path / "a.npz", images, labels)
    written.killed_at = 7
    with pytest.raises(Killed):
        evaluate(*arguments)
    old = set(written)
    written.clear()
    written.killed_at = None
    npz(tmp_path / "a.npz", images, 1 - labels)
    assert evaluate(*arguments) == 0
    # those of real images are found
    assert len(old) == 7 and not old & set(written) and kinds(written)[:3] == ["classifier", "classifier", "predictions"]
    # swapped labels, as in a report of the swapped set alone
    found = json.loads((tmp_path / "report" / "report.json").read_text())["synthetic"][0]
    assert found["count"] == np.bincount(1 - labels).tolist()


def test_a_second_command_into_one_folder_is_refused_before_it_computes(evaluate, real, tmp_path, capsys, monkeypatch):
    npz(tmp_path / "a.npz", *drawn(40, seed=1))
    arguments, statuses, train = ("fairness", "--synthetic", "a.npz", *TWO_STEPS), [], image_classifier.train_image_classifier

    def trained(*given, **options):
        if not statuses:
            statuses.append("the second command")
            statuses.append(evaluate(*arguments))
        return train(*given, **options)

    monkeypatch.setattr(image_classifier, "train_image_classifier", trained)
    assert evaluate(*arguments) == 0
    assert statuses == ["the second command", 2]
    assert f"is being written by another process ({os.getpid()} on" in capsys.readouterr().err
    assert sorted(os.listdir(tmp_path / "report")) == ["report.json", "report.md", "report.png"]
