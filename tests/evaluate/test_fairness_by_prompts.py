"""`jaxdiff evaluate fairness` on sets drawn by prompts: the label is the final prompt, classified and compared by CLIP."""

import json

import numpy as np
import pytest

from evaluate.__main__ import main
from evaluate.html_report import html_report
from evaluate.options.html_report import HtmlReport
from jaxdiff.data import Attribute
from jaxdiff.interop import clip
from tests.evaluate.prompted import coloured
from tests.evaluate.prompted import written as write_set
from tests.interop import test_clip

# classifiers are trained: running takes longer than compiling
pytestmark = pytest.mark.optimized

COUNT, SIZE = 120, 16
GROUP = Attribute("group", ("man", "woman"))
TEXTS = ("photo of a man", "photo of a woman")


@pytest.fixture
def program(call_program, tmp_path):
    """Runs the program on a set of two prompts; returns its exit status. The first half of the set has swapped colours."""
    folder = test_clip.written(tmp_path / "model")
    labels = np.arange(COUNT) % 2
    images = coloured(labels ^ (np.arange(COUNT) < COUNT // 2), labels, SIZE)
    write_set(tmp_path / "set", images, labels, attributes=[GROUP], prompts=list(TEXTS), tau=0.5, values=list(GROUP.values))
    named = {"attributes": ["group"], "values_group": list(GROUP.values)}
    split = np.repeat(["train", "test"], [80, 40])
    np.savez(tmp_path / "real.npz", images=coloured(labels, labels, SIZE), labels=labels, split=split, **named)

    def run(*arguments):
        return call_program(
            main, "evaluate", "fairness", "--synthetic", "set", "--real", "real.npz", "--attribute", "group", "--out", "out",
            "--seeds", "1", "--steps", "1", "--permutations", "9", "--replicates", "50", "--no-quality", *arguments,
        )  # fmt: skip

    return run, folder, images, labels


def test_labels_shares_and_agreement_are_those_of_the_clip_model(program, tmp_path, capsys):
    run, folder, images, labels = program
    prompts = f"group: {' | '.join(TEXTS)}"
    given = ("--classifier", folder, "--classifier-prompts", prompts, "--clip", folder, "--target", "0.3", "0.7")
    assert run(*given) == 0
    printed, content = capsys.readouterr().out, json.loads((tmp_path / "out" / "report.json").read_text())
    model = clip.load(folder)
    vectors, of_texts = model.of_images(images), model.of_prompts(TEXTS)
    cosines = vectors @ of_texts.T
    predicted = cosines.argmax(axis=1)
    (found,) = content["synthetic"]
    assert found["external_label_accuracy"]["overall"] == pytest.approx((predicted == labels).mean())
    errors = [100 * (predicted[labels == group] != group).mean() for group in (0, 1)]
    assert found["external_label_accuracy"]["ber"] == pytest.approx(np.mean(errors))
    scores = 100 * np.maximum(cosines[np.arange(COUNT), labels], 0)
    assert found["agreement"]["mean"] == pytest.approx(scores.mean(), rel=1e-4)
    of_groups = [each["mean"] for each in found["agreement"]["groups"]]
    assert of_groups == pytest.approx([scores[labels == group].mean() for group in (0, 1)], rel=1e-4)
    assert found["external_shares"]["target"] == [0.3, 0.7] and "agreement" not in content["real"]
    assert content["external_classifier"]["sha256"] == content["clip"]["fingerprint"] == model.fingerprint
    report = (tmp_path / "out" / "report.md").read_text()
    for words in ("agreement of images with their prompts by model", 'man: "photo of a man"', "by the external classifier"):
        assert words in report
    assert model.fingerprint in printed

    html_report(HtmlReport(out=tmp_path / "out"))
    page = (tmp_path / "out" / "report.html").read_text()
    assert "agreement" in page and "Counted by the external classifier" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--classifier", "CLIP", "--classifier-prompts", "age: a | b"], ["must describe --attribute group alone, got age"]),
        (["--classifier", "CLIP", "--classifier-prompts", "group: a | b"], ["--classifier-prompts lacks man, woman"]),
        (["--clip", "CLIP", "--synthetic", "real.npz"], ["--clip compares images with the prompts", "real.npz"]),
        (["--clip", "set"], ["--clip set", "no folder of a CLIPModel"]),
        (["--target", "0.5", "0.5"], ["--target needs --associated or --classifier"]),
    ],
)
def test_wrong_input_is_one_line_before_any_training(program, capsys, monkeypatch, arguments, words):
    run, folder, *_ = program
    monkeypatch.setattr("evaluate.fairness.evaluate_fairness", lambda *_, **__: pytest.fail("trained"))
    assert run(*(folder if each == "CLIP" else each for each in arguments)) == 2
    error = " ".join(capsys.readouterr().err.split())
    for word in words:
        assert word in error
