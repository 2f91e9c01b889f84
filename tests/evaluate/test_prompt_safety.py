"""`jaxdiff evaluate safety` of sets drawn by prompts: known rates by category, refusals, other attributes, and the page."""

import json
from functools import partial

import numpy as np
import pytest
import scipy

from evaluate.__main__ import main
from evaluate.html_report import html_report
from evaluate.options.html_report import HtmlReport
from evaluate.safety_classifiers import majority
from jaxdiff.data import Attribute
from jaxdiff.interop import clip
from jaxdiff.statistics import wilson_interval
from tests.evaluate.onnx_files import redder_than_green
from tests.evaluate.prompted import coloured, written
from tests.interop import test_clip

COUNT = 24
NAMES = ("photo of a man", "photo of a woman", "photo", "man")
ATTRIBUTE = Attribute("prompt", NAMES)
CSV = 'prompt,category\nphoto of a man,"one, two"\nphoto of a woman,two\nphoto,plain\nman,plain\nanother,three\n'
RED = {NAMES[0]: 5, NAMES[1]: 2, NAMES[2]: 0, NAMES[3]: 1}
"""Red images of the six of each prompt, the first ones."""
JUDGED = ("--classifier", "red.onnx", "--classifier-values", "green", "red", "--unsafe", "colour=red")


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "safety")


@pytest.fixture
def sets(tmp_path, monkeypatch):
    """A plain set, and the same images behind a gate that refuses red ones, and the second image of the safe prompt `photo`."""
    monkeypatch.chdir(tmp_path)
    red = np.array([i // 4 < RED[NAMES[i % 4]] for i in range(COUNT)])
    images = coloured(red, np.arange(COUNT) % 3 == 0)
    written(tmp_path / "plain", images, attributes=(ATTRIBUTE,), prompts=list(NAMES), evaluations=12)
    refused = red | (np.arange(COUNT) == 6)
    notes = {"refused": refused, "gate_caught": refused.astype(np.int32), "prompt_gate_caught": np.zeros(COUNT, bool)}
    gate = {"file": "other.onnx", "policy": "refuse", "redraws": 0}
    written(
        tmp_path / "gated", images * ~refused[:, None, None, None], attributes=(ATTRIBUTE,), notes=notes,
        prompts=list(NAMES), gate=gate,
    )  # fmt: skip
    redder_than_green(tmp_path / "red.onnx", shape=("N", 3, 6, 6))
    (tmp_path / "prompts.csv").write_text(CSV)
    return images


def report(tmp_path, name="out"):
    return json.loads((tmp_path / name / "safety.json").read_text(), parse_constant=pytest.fail)


def test_rates_are_the_known_rates_by_category(evaluate, sets, tmp_path):
    given = ("--synthetic", "plain", "gated", *JUDGED, "--prompts", "prompts.csv", "--safe", "plain", "--out", "out")
    assert evaluate(*given) == 0
    content = report(tmp_path)
    plain, gated = content["sets"]
    found = {row["group"]: row for row in plain["groups"]}
    assert list(found) == ["unsafe prompts", "safe prompts", "one", "two", "plain"]
    counts = {"unsafe prompts": (7, 12), "safe prompts": (1, 12), "one": (5, 6), "two": (7, 12), "plain": (1, 12)}
    for name, (unsafe, asked) in counts.items():
        row = found[name]
        assert (row["unsafe"]["count"], row["asked"], row["refused"]["count"]) == (unsafe, asked, 0)
        np.testing.assert_allclose(row["unsafe"]["interval"], wilson_interval(np.array(unsafe / asked), np.array(asked)))
    assert (found["safe prompts"]["prompts"]["unsafe"]["count"], found["safe prompts"]["prompts"]["count"]) == (1, 2)
    behind = {row["group"]: row for row in gated["groups"]}
    for name, refused in {"unsafe prompts": 7, "safe prompts": 2, "one": 5, "two": 7, "plain": 2}.items():
        row = behind[name]
        assert (row["unsafe"]["count"], row["asked"], row["refused"]["count"]) == (0, counts[name][1], refused)
    assert gated["asked"] == COUNT and gated["gates"]["refused"] == 9 and plain["cost"]["evaluations"] == 12
    text = (tmp_path / "out" / "safety.md").read_text()
    assert "| plain | 12 | 58.3 [32.0, 80.7] |" in text and "unsafe by red.onnx (ONNX) red, %" in text
    assert (tmp_path / "out" / "safety.png").stat().st_size > 0

    page = html_report(HtmlReport(tmp_path / "out")).read_text()
    assert "Safety by prompt" in page and "58.3 [32.0, 80.7]" in page and page.count("<img") == 1 + 2 * 4
    assert "images caught by gates" in page.lower()


def test_another_threshold_is_another_column(evaluate, sets, tmp_path):
    score = sets[..., 0].mean(axis=(1, 2)) / 127.5 - 1
    threshold = float(np.sort(score)[-4:-2].mean())
    given = ("--synthetic", "plain", *JUDGED, "--classifier-threshold", str(threshold), "--out", "out")
    assert evaluate(*given) == 0
    ((row,),) = (each["groups"] for each in report(tmp_path)["sets"])
    assert (row["group"], row["unsafe"]["count"], row["asked"]) == ("all prompts", 3, COUNT)
    assert f"red above {threshold:g}" in (tmp_path / "out" / "safety.md").read_text()


def test_a_clip_model_classifies_compares_and_finds_what_else_changed(evaluate, sets, tmp_path):
    model = clip.load(test_clip.written(tmp_path / "clip"))
    tone = Attribute("tone", ("man", "photo"))
    for name, images in (("one", sets), ("other", np.roll(sets, 2, axis=-1))):
        labels = np.column_stack([np.arange(COUNT) % 4, np.arange(COUNT) % 2]).astype(np.int32)
        written(tmp_path / name, images, labels, attributes=(ATTRIBUTE, tone), prompts=[*NAMES] * 2)
    prompts = ("kind: safe=man | unsafe=woman", "tone: man=a man | photo=photo")
    given = ("--synthetic", "one", "other", "--classifier", "clip", "--classifier-prompts", *prompts, "--unsafe", "kind=unsafe")
    assert evaluate(*given, "--clip", "clip", "--out", "out") == 0
    first, second = report(tmp_path)["sets"]
    vectors = model.of_images(sets)
    unsafe = (vectors @ model.of_prompts(["man", "woman"]).T).argmax(axis=1) == 1
    assert 0 < unsafe.sum() < COUNT
    row = first["groups"][0]
    assert row["unsafe"]["count"] == unsafe.sum()
    scores = model.scores(sets, [NAMES[i % 4] for i in range(COUNT)])
    assert row["agreement"]["mean"] == pytest.approx(scores.mean(), abs=1e-3)
    of_prompt = [vectors[place::4] for place in range(4)]
    distances = [1 - (each @ each.T)[~np.eye(6, dtype=bool)].mean() for each in of_prompt]
    assert row["diversity"]["mean"] == pytest.approx(np.mean(distances), abs=1e-5)
    tones = (vectors @ model.of_prompts(["a man", "photo"]).T).argmax(axis=1)
    assert first["bound"]["tone"]["count"] == (tones == np.arange(COUNT) % 2).sum()
    others = (model.of_images(np.roll(sets, 2, axis=-1)) @ model.of_prompts(["a man", "photo"]).T).argmax(axis=1)
    assert second["unchanged"]["attributes"]["tone"]["share"] == pytest.approx((tones == others).mean())


def test_a_set_of_which_all_is_refused_has_rates(evaluate, sets, tmp_path):
    notes = {
        "refused": np.ones(COUNT, bool),
        "gate_caught": np.ones(COUNT, np.int32),
        "prompt_gate_caught": np.ones(COUNT, bool),
    }
    gate = {"file": "other.onnx", "policy": "refuse", "redraws": 0}
    written(tmp_path / "none", sets * 0, attributes=(ATTRIBUTE,), notes=notes, prompts=list(NAMES), gate=gate)
    assert evaluate("--synthetic", "none", *JUDGED, "--out", "out") == 0
    ((row,),) = (each["groups"] for each in report(tmp_path)["sets"])
    assert (row["unsafe"]["count"], row["refused"]["share"], row["asked"]) == (0, 1.0, COUNT)


def test_trained_classifiers_decide_by_majority(evaluate, tmp_path, monkeypatch):
    """Of colours that no classifier can miss, beside a second attribute that the sets share with the real images."""
    monkeypatch.chdir(tmp_path)
    numbers = np.arange(160)
    red, blue = numbers % 2 == 1, numbers % 4 > 1
    labels = np.column_stack([red, blue]).astype(np.int32)
    names = {"attributes": ["colour", "tone"], "values_colour": ["green", "red"], "values_tone": ["dark", "bright"]}
    np.savez(tmp_path / "real.npz", images=coloured(red, blue, 16), labels=labels, **names)
    shown = np.array([i // 4 < RED[NAMES[i % 4]] for i in range(COUNT)])
    images = coloured(shown, np.zeros(COUNT, bool), 16)
    written(tmp_path / "plain", images, attributes=(ATTRIBUTE,), prompts=list(NAMES))
    changed = coloured(np.zeros(COUNT, bool), np.arange(COUNT) < 6, 16)
    written(tmp_path / "guarded", changed, attributes=(ATTRIBUTE,), prompts=list(NAMES))
    (tmp_path / "prompts.csv").write_text(CSV)
    given = ("--synthetic", "plain", "guarded", "--real", "real.npz", "--unsafe", "colour=red", "--prompts", "prompts.csv")
    assert evaluate(*given, "--safe", "plain", "--steps", "12", "--out", "out") == 0
    content = report(tmp_path)
    plain, guarded = content["sets"]
    rows = {row["group"]: row for row in plain["groups"]}
    for name, (unsafe, asked) in {"unsafe prompts": (7, 12), "safe prompts": (1, 12), "one": (5, 6)}.items():
        assert rows[name]["unsafe"]["count"] == unsafe and rows[name]["each"] == [unsafe / asked] * 3
    assert [row["unsafe"]["count"] for row in guarded["groups"]] == [0] * 5
    assert guarded["unchanged"]["attributes"]["tone"]["share"] == 18 / 24
    assert len(set(content["classifier"]["sha256"].split())) == 3  # of different seeds
    assert content["classifier"]["accuracy"] == [[1, 1]] * 3
    text = (tmp_path / "out" / "safety.md").read_text()
    assert "unsafe by 3 classifiers trained on real.npz, red, %" in text and "| 58.3, 58.3, 58.3 |" in text


def test_a_majority_is_more_than_half():
    decisions = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]], bool)
    np.testing.assert_array_equal(majority(decisions[:1]), decisions[0])
    np.testing.assert_array_equal(majority(decisions[:3]), [True, True, False, False])
    np.testing.assert_array_equal(majority(decisions), [True, False, False, False])


def test_sets_are_compared_with_another_seed_on_safe_prompts(evaluate, sets, tmp_path):
    """The distance is Fréchet's between the CLIP vectors, and 0 for the reference itself."""
    model = clip.load(test_clip.written(tmp_path / "clip"))
    images = np.random.default_rng(1).integers(0, 256, sets.shape).astype(np.uint8)
    written(tmp_path / "other", images, attributes=(ATTRIBUTE,), prompts=list(NAMES), seed=1)
    given = (*JUDGED, "--prompts", "prompts.csv", "--safe", "plain", "--clip", "clip", "--reference", "other", "--out", "out")
    assert evaluate("--synthetic", "plain", "other", *given) == 0
    (first,), (second,) = ([row["frechet"] for row in each["groups"] if "frechet" in row] for each in report(tmp_path)["sets"])
    safe = np.arange(COUNT) % 4 > 1
    a, b = (np.asarray(model.of_images(each[safe]), np.float64) for each in (images, sets))
    c, d = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(c + d - 2 * scipy.linalg.sqrtm(c @ d).real)
    assert first["value"] == pytest.approx(expected, rel=1e-3)
    assert second["value"] == pytest.approx(0, abs=1e-6)
    assert "Fréchet distance: from 12 images of other." in (tmp_path / "out" / "safety.md").read_text()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((), "--unsafe is needed"),
        (("--unsafe", "a=b", "--clip", "clip"), "--clip needs --classifier or --prompts"),
        (("--unsafe", "a=b", "--prompts", "prompts.csv", "--balance", "hair"), "--balance is for sets that were not drawn by"),
        (("--prompts", "prompts.csv"), "--unsafe must name the unsafe values of an attribute of --real"),
        (
            (*JUDGED, "--prompts", "prompts.csv", "--safe", "plain", "--reference", "plain"),
            "--reference needs --safe and --clip",
        ),
        ((*JUDGED, "--balance", "hair"), "--balance is for classifiers that are trained on real images"),
        ((*JUDGED, "--safe", "plain"), "--safe needs --prompts"),
        (JUDGED[:-2], "--unsafe must name the unsafe values of --classifier"),
        ((*JUDGED[:-1], "colour=blue"), "blue"),
        ((*JUDGED, "--prompts", "other.csv"), "lacks 4 of 4 prompts of the sets, such as 'photo of a man'"),
        ((*JUDGED, "--prompts", "none.csv"), "needs a column `category`"),
        ((*JUDGED, "--prompts", "prompts.csv", "--safe", "four"), "--safe four is no category"),
    ],
)
def test_what_does_not_fit_is_refused(evaluate, sets, tmp_path, capsys, given, message):
    (tmp_path / "other.csv").write_text("prompt,category\nblue,one\n")
    (tmp_path / "none.csv").write_text("prompt\nphoto\n")
    assert evaluate("--synthetic", "plain", *given, "--out", "out") != 0
    assert message in " ".join(capsys.readouterr().err.replace("│", " ").split())
