"""`evaluate safety`: rates of sets with known rates, quality compared with safe images, the gate, and errors."""

import json
import math
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from evaluate import safety
from evaluate.__main__ import main
from jaxdiff import image_classifier
from jaxdiff.data import embedded
from jaxdiff.data.attributes import Attribute
from jaxdiff.sampleset import SampleSet
from jaxdiff.spaces import Pixels
from tests.faults import write_inputs

# the classifiers of so short a training are as good as their rounding
pytestmark = pytest.mark.optimized

SIZE, COUNT = 16, 300
GLASSES = 3
# features independent of the groups, so that classifiers have to learn the glasses themselves
REAL = "embedded?glasses=0.4,0.4&hair=0.5,0.5&beard=0.3,0.3&lipstick=0.3,0.3&hair_color=0.5,0.5"
SHARES = dict(glasses=(0.4, 0.4), hair=(0.5, 0.5), beard=(0.3, 0.3), lipstick=(0.3, 0.3), hair_color=(0.5, 0.5))
QUICK = ("--size", SIZE, "--seeds", 1, "--steps", 150, "--train-count", 3000, "--test-count", 600, "--replicates", 200)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Sets of new faces: with glasses, without, and without but noisy; and the share of glasses in the first."""
    folder = tmp_path_factory.mktemp("sets")
    images, labels = embedded.generate(np.arange(10**6, 10**6 + 900), associations=SHARES, size=SIZE)
    glasses = labels[:, GLASSES] == 1
    plain, safe = images[:COUNT], images[~glasses][:COUNT]
    noise = np.random.default_rng(0).normal(0, 60, safe.shape)
    parts = {"plain": plain, "safe": safe, "broken": np.clip(safe + noise, 0, 255).astype(np.uint8)}
    for name, part in parts.items():
        np.savez(folder / f"{name}.npz", images=part, labels=np.zeros(len(part), np.int64))
    guarded = SampleSet.create(
        folder / "guarded",
        {
            "guard": "safe", "strength": 1.0, "weight": "constant", "unsafe": "embedded:glasses=yes", "unsafe_split": "train",
            "unsafe_count": 30, "unsafe_value_names": [], "temperature": None, "bandwidth": None, "window": [0.01, 2.0],
            "threshold": 0.0, "deviation": "inf", "process": {"name": "vp_cosine"}, "evaluations": 25,
        },
        [Attribute("group", ("square", "round"))], np.zeros((COUNT, 1), np.int32), Pixels(*safe.shape[1:]),
    )  # fmt: skip
    for start, stop in guarded.missing():
        guarded.write(start, safe[start:stop], {"acted": np.arange(start, stop) % 2, "looked": np.ones(stop - start)})
    return folder, float(glasses[:COUNT].mean())


@pytest.fixture(scope="module")
def report(sets, tmp_path_factory, small_classifiers):
    """The report of all sets, and its folder."""
    folder, _ = sets
    out = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        names = [folder / "plain.npz", folder / "safe.npz", folder / "broken.npz", folder / "guarded"]
        arguments = [
            "evaluate",
            "safety",
            "--unsafe",
            "glasses=yes",
            "--real",
            REAL,
            *QUICK,
            "--out",
            out,
            "--synthetic",
            *names,
        ]
        patch.setattr("sys.argv", [str(argument) for argument in arguments])
        main()
    return json.loads((out / "safety.json").read_text()), out


def test_rates_are_the_known_rates(report, sets):
    rows = report[0]["rows"]
    assert rows["plain.npz"]["unsafe"]["value"] == pytest.approx(sets[1], abs=0.06)
    low, high = rows["plain.npz"]["unsafe"]["interval"]
    assert low - 0.02 <= sets[1] <= high + 0.02
    assert rows["safe.npz"]["unsafe"]["value"] < 0.04
    assert rows["Real, safe"]["unsafe"]["value"] < 0.02 and rows["Real, unsafe"]["unsafe"]["value"] > 0.98
    assert report[0]["share_unsafe_in_real"] == pytest.approx(0.4, abs=0.08)


def test_rejection_removes_unsafe_images(report, sets):
    content, _ = report
    row = content["rows"]["plain.npz, rejected"]
    assert content["rejected_share"] == pytest.approx(sets[1], abs=0.06)
    assert row["count"] == round((1 - content["rejected_share"]) * COUNT)
    assert row["unsafe"]["value"] < 0.05


def test_quality_is_compared_with_equally_many_safe_images(report):
    rows = report[0]["rows"]
    quality = {name: row["quality"] for name, row in rows.items()}
    assert len({each["count"][1] for name, each in quality.items() if name != "Real, unsafe"}) == 1
    # unsafe and noisy images are far from safe real images
    assert quality["safe.npz"]["frechet"] < quality["plain.npz"]["frechet"] < quality["Real, unsafe"]["frechet"]
    assert quality["broken.npz"]["frechet"] > 3 * quality["safe.npz"]["frechet"]
    assert quality["broken.npz"]["precision"] < quality["safe.npz"]["precision"]


def test_nearest_neighbours_separate_glasses_in_part(report):
    rows = report[0]["rows"]
    assert rows["Real, unsafe"]["nearest"]["unsafe"] > rows["Real, safe"]["nearest"]["unsafe"] + 0.2
    assert rows["safe.npz"]["nearest"]["unsafe"] == pytest.approx(rows["Real, safe"]["nearest"]["unsafe"], abs=0.12)


def test_guarded_set_has_the_rates_of_its_guard(report):
    row = report[0]["rows"]["guarded"]
    # a constant weight has no gate: it acts on every safe image
    guard = {"guard": "safe", "weight": "constant", "strength": 1.0, "parameter": 1.0, "acted": 0.5}
    assert row["guard"] == {**guard, "gate": {"mean": 1.0, "largest": 1.0}}
    assert row["cost"]["evaluations"] == 25 and "guard" not in report[0]["rows"]["plain.npz"]


def test_report_files_are_complete(report):
    content, out = report
    text = (out / "safety.md").read_text()
    assert all(f"| {name} |" in text for name in content["rows"]) and "How to read it" in text
    for picture in ("safety.png", "classified.png"):
        with Image.open(out / picture) as opened:
            assert min(opened.size) > 300
    assert not list(out.glob("*.partial")) and math.isfinite(content["seconds"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--unsafe", "glasses"], "--unsafe takes ATTRIBUTE=VALUE"),
        (["--unsafe", "hat=yes"], "unknown attribute 'hat'"),
        (["--unsafe", "glasses=maybe"], "has no value 'maybe'"),
        (["--unsafe", "glasses=yes,no"], "both kinds are needed"),
        (["--unsafe", "glasses=yes", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["--unsafe", "glasses=yes", "--balance", "hat"], "unknown attribute 'hat'"),
    ],
)
def test_wrong_arguments_are_errors(arguments, words, sets, call_program, tmp_path, capsys):
    plain = sets[0] / "plain.npz"
    status = call_program(
        main,
        "evaluate",
        "safety",
        "--synthetic",
        plain,
        "--size",
        16,
        "--train-count",
        200,
        "--out",
        tmp_path / "out",
        *arguments,
    )
    assert status == 2 and words in " ".join(capsys.readouterr().err.split())


def test_sets_of_another_size_are_an_error(sets, call_program, tmp_path, capsys):
    status = call_program(
        main, "evaluate", "safety", "--synthetic", sets[0] / "plain.npz", "--unsafe", "glasses=yes", "--train-count", 200,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert status == 2 and "images must have one size" in " ".join(capsys.readouterr().err.split())


@pytest.mark.slow
def test_a_killed_command_resumes_where_it_was(sets, written, resumed, call_program, tmp_path, monkeypatch):
    """Killed among the classifiers, and among the rows."""
    trained, train = [], image_classifier.train_image_classifier
    monkeypatch.setattr(image_classifier, "train_image_classifier", lambda *a, **b: trained.append(1) or train(*a, **b))
    arguments = [
        "safety",
        "--unsafe",
        "glasses=yes",
        "--real",
        REAL,
        "--synthetic",
        sets[0] / "plain.npz",
        *QUICK,
        "--out",
        "x",
    ]
    shorter = ("--steps", 2, "--train-count", 400, "--test-count", 200, "--replicates", 20)
    evaluate = partial(call_program, main, "evaluate")
    printed = resumed(evaluate, tmp_path / "x", "safety.json", [*arguments, *shorter], 1, 4)
    assert "resuming: 3 of 3 parts were finished (training classifiers)" in printed
    assert "resuming: 1 of" in printed
    # a classifier of safety, one for rejection and one of features; one of them was trained when the first kill came
    assert [key.split("-")[0] for key in written][:4] == ["classifier"] * 3 + ["row"] and len(trained) == 3 + 3 + 1


@pytest.fixture
def small(tmp_path, save_model, rng, call_program, small_classifiers):
    """`small(SET)` evaluates a set with real images that take little time."""
    write_inputs(tmp_path, save_model, rng)
    settings = ["--real", "data.npz", "--unsafe", "group=round", "--seeds", 1, "--steps", 2, "--replicates", 20]
    return lambda name: call_program(main, "evaluate", "safety", *settings, "--synthetic", name, "--out", "out")


def test_a_set_that_is_too_small_is_refused_before_training(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("evaluate.safety._train_classifiers", lambda *_: pytest.fail("trained"))
    np.savez(tmp_path / "few.npz", images=np.zeros((11, 16, 16, 3), np.uint8))
    assert small("few.npz") == 2
    assert "few.npz: 11 images are too few to measure quality, which takes 12" in " ".join(capsys.readouterr().err.split())


def test_where_nearly_all_images_are_rejected_the_rest_is_reported(small, tmp_path, monkeypatch):
    train = safety._train_classifiers

    def rejecting(*given):
        classifiers, _, extractors = train(*given)
        rejector = SimpleNamespace(classifier=SimpleNamespace(predict=lambda images: np.arange(len(images)) >= 11))
        return classifiers, rejector, extractors

    monkeypatch.setattr(safety, "_train_classifiers", rejecting)
    assert small("set.npz") == 0
    report = json.loads((tmp_path / "out" / "safety.json").read_text())
    assert list(report["rows"]) == ["Real, safe", "Real, unsafe", "set.npz"] and report["rejected_share"] == 1 - 11 / 48
