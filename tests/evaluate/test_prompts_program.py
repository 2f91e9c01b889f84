"""`jaxdiff evaluate prompts`: parity and agreement by prompt, attributes that stay as they were, and quality."""

import json
import re
from functools import partial

import numpy as np
import pytest
import scipy
from PIL import Image

from evaluate.__main__ import main
from evaluate.html_report import html_report
from evaluate.options.html_report import HtmlReport
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import clip
from tests.evaluate.onnx_files import redder_than_green
from tests.evaluate.prompted import PROMPTS, coloured
from tests.evaluate.prompted import written as write_set
from tests.interop import test_clip

BEFORE, AFTER = (18, 10, 2), (10, 11, 9)
"""Red images of twenty of each prompt."""
COUNT = 60


def colours(counts):
    """Whether each image is red; image i has prompt i % 3."""
    return [i // 3 < counts[i % 3] for i in range(COUNT)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A CLIP folder."""
    return test_clip.written(tmp_path_factory.mktemp("clip") / "model")


@pytest.fixture
def sets(tmp_path):
    """Two sets from the same noise, and a classifier of their colour; returns their images."""
    blue = np.arange(COUNT) % 2 == 0
    images = [coloured(colours(BEFORE), blue), coloured(colours(AFTER), blue ^ (np.arange(COUNT) >= 45))]
    for name, each in zip(("before", "after"), images, strict=True):
        write_set(tmp_path / name, each, evaluations=12)
    redder_than_green(tmp_path / "colour.onnx", shape=("N", 3, 6, 6))
    return images


@pytest.fixture
def evaluate(call_program):
    """Runs the program and returns its exit status."""
    return partial(call_program, main, "evaluate", "prompts")


def report(tmp_path, name="out"):
    return json.loads((tmp_path / name / "prompts.json").read_text(), parse_constant=pytest.fail)


COLOUR = ("--attribute", "colour", "--classifier", "colour.onnx", "--classifier-values", "green", "red")


def test_shares_of_each_prompt_are_counts_and_their_distances_are_formulas(evaluate, tmp_path, sets, capsys):
    assert evaluate("--synthetic", "before", "after", *COLOUR, "--target", "0.4", "0.6", "--out", "out") == 0
    printed, content = capsys.readouterr().out, report(tmp_path)
    assert content["contexts"] == list(PROMPTS) and content["values"] == ["green", "red"]
    assert [each["name"] for each in content["sets"]] == ["before", "after"]
    for each, counts in zip(content["sets"], (BEFORE, AFTER), strict=True):
        for row, prompt, count in zip(each["contexts"], PROMPTS, counts, strict=True):
            parity, share = row["parity"], count / 20
            assert (row["context"], row["count"], parity["target"]) == (prompt, 20, [0.4, 0.6])
            assert parity["frequency"] == pytest.approx([1 - share, share])
            assert parity["deviation"] == pytest.approx([abs(share - 0.6)] * 2)
            assert parity["discrepancy"] == pytest.approx(np.sqrt(2) * abs(share - 0.6))
            assert parity["divergence"] == pytest.approx(scipy.stats.entropy([1 - share, share], [0.4, 0.6]))
            low, high = parity["intervals"]["frequency"][1]
            half = 1.96 * np.sqrt(share * (1 - share) / 20)
            assert low < share < high and high - low == pytest.approx(2 * half, abs=0.11)
        means = np.abs(np.array(counts) / 20 - 0.6).mean()
        assert each["parity"]["mean_deviation"] == pytest.approx([means] * 2)
        assert each["parity"]["mean_discrepancy"] == pytest.approx(np.sqrt(2) * means)
        assert each["cost"] == {"evaluations": 12}
    assert content["classifiers"][0]["accuracy"] is None and "unchanged" not in content["sets"][1]

    text = (tmp_path / "out" / "prompts.md").read_text()
    for words in ("| photo of a man: before | 20 |", "0.900 [", "colour.onnx", "not corrected", "prompts.png", "FD"):
        assert words in text
    assert "photo of a man: after" in printed and "0.600" not in printed.split("means over")[0].split("woman")[0]
    with Image.open(tmp_path / "out" / "prompts.png") as picture:
        assert picture.size[0] > 500


def test_agreement_is_the_mean_of_positive_cosines_of_images_and_their_prompts(evaluate, tmp_path, sets, folder, capsys):
    assert evaluate("--synthetic", "before", "after", "--clip", folder, "--out", "out") == 0
    printed, content, model = capsys.readouterr().out, report(tmp_path), clip.load(folder)
    assert content["clip"] == {"folder": "model", "fingerprint": model.fingerprint} and content["attribute"] is None
    of_prompts = np.concatenate([model.of_prompts([prompt]) for prompt in PROMPTS])
    for each, images in zip(content["sets"], sets, strict=True):
        vectors = np.concatenate([model.of_images(image[None]) for image in images])
        cosines = np.array([vectors[i] @ of_prompts[i % 3] for i in range(COUNT)])
        assert (cosines > 0).any()
        scores = 100 * np.maximum(cosines, 0)
        assert each["agreement"]["mean"] == pytest.approx(scores.mean(), rel=1e-4)
        low, high = each["agreement"]["interval"]
        assert low <= scores.mean() + 1e-3 and scores.mean() - 1e-3 <= high
        for place, row in enumerate(each["contexts"]):
            own = scores[place::3]
            assert row["agreement"]["mean"] == pytest.approx(own.mean(), rel=1e-4, abs=1e-4)
            low, high = row["agreement"]["interval"]
            assert high - low == pytest.approx(2 * 1.96 * own.std() / np.sqrt(20), rel=0.25, abs=1e-3)
    assert f"({model.fingerprint})" in printed and not (tmp_path / "out" / "prompts.png").exists()


def test_a_clip_model_classifies_by_prompts_and_compares_the_same_noise(evaluate, tmp_path, sets, folder):
    (tmp_path / "what.toml").write_text('prompt = ["{what}", "a {what}"]\nwhat = ["man", "photo"]\n')
    given = ("--classifier", folder, "--classifier-prompts", "who: m=a man | w=a woman", "what.toml", "--attribute", "who")
    assert evaluate("--synthetic", "before", "after", *given, "--out", "out") == 0
    content, model = report(tmp_path), clip.load(folder)
    vectors = [np.concatenate([model.of_images(image[None]) for image in images]) for images in sets]
    first, second = model.of_prompts(["man", "a man"]).mean(0), model.of_prompts(["photo", "a photo"]).mean(0)
    what = [each @ second / np.linalg.norm(second) > each @ first / np.linalg.norm(first) for each in vectors]
    who = [each @ (model.of_prompts(["a woman"]) - model.of_prompts(["a man"]))[0] > 0 for each in vectors]
    for each, found in zip(content["sets"], who, strict=True):
        shares = [row["parity"]["frequency"][1] for row in each["contexts"]]
        assert shares == pytest.approx([found[place::3].mean() for place in range(3)])
    unchanged = content["sets"][1]["unchanged"]
    assert unchanged["count"] == COUNT and list(unchanged["attributes"]) == ["what"] and "unchanged" not in content["sets"][0]
    assert unchanged["mean"] == unchanged["attributes"]["what"]["share"] == pytest.approx((what[0] == what[1]).mean())
    assert 0 < unchanged["mean"] < 1
    assert [each["attribute"] for each in content["classifiers"]] == ["who", "what"]
    assert content["classifiers"][1]["input"] == 'man: "man" and 1 more; photo: "photo" and 1 more'
    # other noise is not compared
    for name, other in (("seed", {"seed": 1}), ("seeds", {"seeds_of_prompts": [3, None, 4]})):
        write_set(tmp_path / name, sets[1], **other)
    assert evaluate("--synthetic", "before", "seed", "seeds", *given, "--out", "other") == 0
    assert not any("unchanged" in each for each in report(tmp_path, "other")["sets"])


def test_sets_of_one_prompt_each_count_as_one_and_values_of_an_attribute_can_be_the_rows(evaluate, tmp_path, sets):
    group = Attribute("job", ("nurse", "doctor", "none"))
    write_set(tmp_path / "by_job", sets[0], attributes=[group])
    for place, prompt in enumerate(PROMPTS):
        write_set(tmp_path / "alone" / str(place), sets[0][place::3], attributes=(), prompts=[prompt])
    assert evaluate("--synthetic", "alone", "before", *COLOUR, "--out", "out") == 0
    alone, before = report(tmp_path)["sets"]
    assert alone["count"] == COUNT and "cost" not in alone
    for one, other in zip(alone["contexts"], before["contexts"], strict=True):
        assert one["context"] == other["context"] and one["parity"]["frequency"] == other["parity"]["frequency"]
    assert evaluate("--synthetic", "by_job", *COLOUR, "--by", "job", "--out", "jobs") == 0
    content = report(tmp_path, "jobs")
    assert content["contexts"] == list(group.values)
    assert [row["parity"]["frequency"] for row in content["sets"][0]["contexts"]] == [
        row["parity"]["frequency"] for row in before["contexts"]
    ]
    # as many of each part
    assert evaluate("--synthetic", "alone", *COLOUR, "--test-count", "20", "--out", "few") == 0
    assert [row["count"] for row in report(tmp_path, "few")["sets"][0]["contexts"]] == [6, 7, 7]


def test_shares_are_corrected_for_the_errors_on_real_images(evaluate, tmp_path, sets, capsys):
    # a quarter of the red real images is labelled green, as if the classifier took green for red
    red = np.arange(400) % 2 == 0
    labels = (red & (np.arange(400) % 8 != 0)).astype(int)
    named = {"attributes": ["colour"], "values_colour": ["green", "red"], "split": np.full(400, "test")}
    np.savez(tmp_path / "real.npz", images=coloured(red, red), labels=labels, **named)
    assert evaluate("--synthetic", "before", *COLOUR, "--real", "real.npz", "--out", "out") == 0
    content = report(tmp_path)
    # P(predicted red | green) = 50 / 250, P(predicted red | red) = 1
    assert content["classifiers"][0]["accuracy"] == pytest.approx([0.8, 1.0])
    shares = [row["parity"]["frequency"][1] for row in content["sets"][0]["contexts"]]
    assert shares == pytest.approx([max(0, (count / 20 - 0.2) / 0.8) for count in BEFORE])
    assert "accuracy on real images 80.0 / 100.0 %" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--synthetic", "unprompted"], ["unprompted was not drawn by prompts"]),
        (["--synthetic", "absent"], ["--synthetic takes sets of samples that were drawn by prompts", "absent is none"]),
        (["--synthetic", "before", "before"], ["--synthetic", "different"]),
        (["--synthetic", "cut"], ["cut is not finished", "60 of 60"]),
        (["--clip", "before"], ["--clip before", "is no folder of a CLIPModel"]),
        (["--clip", "absent"], ["--clip absent"]),
        (["--by", "job"], ["unknown attribute 'job'", "prompt"]),
        (["--attribute", "colour"], ["--attribute needs a classifier", "--real"]),
        ([*COLOUR, "--target", "0.5", "0.4"], ["--target", "add up to 1"]),
        ([*COLOUR, "--target", "0.5", "0.3", "0.2"], ["--target takes a share for each of green, red, got 3"]),
        ([*COLOUR, "--associated", "all"], ["--associated", "--classifier-prompts"]),
        ([*COLOUR, "--classifier-prompts", "who: a | b"], ["--classifier-prompts is for the folder of a CLIP model"]),
        (["--target", "0.5", "0.5"], ["--target needs --attribute"]),
        (["--quality"], ["--quality needs --real"]),
        (["--quality", "--real", "embedded"], ["--quality needs --inception"]),
        (["--attribute", "who", "--classifier", "CLIP"], ["is a folder, of a CLIP model: it needs --classifier-prompts"]),
        (
            ["--attribute", "who", "--classifier", "CLIP", "--classifier-prompts", "what: a | b"],
            ["unknown attribute 'who'", "what"],
        ),
        (
            ["--attribute", "who", "--classifier", "CLIP", "--classifier-prompts", "who: a | b", "who: c | d"],
            ["--classifier-prompts must describe each attribute once, got who, who"],
        ),
        (
            ["--attribute", "who", "--classifier", "CLIP", "--classifier-prompts", "who: a | a"],
            ["--classifier-prompts", "has no words of its own"],
        ),
        (
            ["--attribute", "who", "--classifier", "CLIP", "--classifier-prompts", "who: a | b", "--classifier-size", "8"],
            ["--classifier-size is for an ONNX file"],
        ),
        (["--classifier-prompts", "who: a | b"], ["--classifier-prompts needs --classifier"]),
    ],
)
def test_wrong_input_is_one_line_and_status_2(evaluate, tmp_path, sets, folder, capsys, arguments, words):
    write_set(tmp_path / "unprompted", sets[0][:6], prompts=None)
    for shard in write_set(tmp_path / "cut", sets[0]).glob("shard-*"):
        shard.unlink()
    arguments = [folder if each == "CLIP" else each for each in arguments]
    given = {"--synthetic": "before", "--out": "out"} | ({} if "--attribute" in arguments else {"--clip": folder})
    left = (word for name, value in given.items() if name not in arguments for word in (name, value))
    assert evaluate(*arguments, *left) == 2
    error = capsys.readouterr().err
    for word in words:
        assert word in error
    assert "Traceback" not in error and not [file for file in (tmp_path / "out").rglob("*") if file.is_file()]


def test_targets_are_those_of_the_concept_of_each_prompt(evaluate, tmp_path, sets, capsys):
    jobs = Attribute("prompt", ("photo of a nurse", "photo of a red doctor", "two doctors"))
    write_set(tmp_path / "jobs", sets[0], attributes=[jobs], prompts=list(jobs.values))
    (tmp_path / "table.toml").write_text(
        'attributes.colour = ["red", "green"]\nconcepts.doctor.colour = { red = 0.8, green = 0.2 }\n'
    )
    given = ("--synthetic", "jobs", *COLOUR, "--target", "0.3", "0.7", "--out", "out")
    assert evaluate(*given, "--fair-table", "table.toml") == 0
    rows = report(tmp_path)["sets"][0]["contexts"]
    # a nurse is no concept, and the second prompt names a value itself; values are in the order of the classifier
    assert [row["parity"]["target"] for row in rows] == [[0.3, 0.7], [0.3, 0.7], [0.2, 0.8]]
    assert [row["parity"]["deviation"][1] for row in rows] == pytest.approx([0.2, 0.2, 0.7])
    assert "0.20 / 0.80" in capsys.readouterr().out
    for table, words in (
        (
            'attributes.colour = ["red", "blue"]\nconcepts.doctor.colour = "equal"\n',
            "with the values green, red; it has colour: red",
        ),
        ('attributes.colour = ["red", "green"]\nconcepts.cook.colour = "equal"\n', "has a concept of no prompt"),
        ('attributes.colour = ["red", "green"]\n', "a fair table needs one attribute and one concept"),
    ):
        (tmp_path / "table.toml").write_text(table)
        assert evaluate(*given, "--fair-table", "table.toml") == 2
        assert words in " ".join(capsys.readouterr().err.split())
    assert evaluate(*given, "--fair-table", "absent") == 2
    assert "--fair-table must be a file, or one of embedded, occupations; got absent" in capsys.readouterr().err


def test_prompts_with_markup_are_shown_as_they_are(evaluate, tmp_path, sets, capsys):
    prompts = ["[bold]a|b[/bold] $x_1$", "a <b>b</b> [/] `c`", "*c* {x}"]
    attribute = Attribute("prompt", tuple(prompts))
    write_set(tmp_path / "hostile", sets[0], attributes=[attribute], prompts=prompts)
    assert evaluate("--synthetic", "hostile", *COLOUR, "--out", "out") == 0
    printed = "".join(capsys.readouterr().out.split())
    assert all("".join(prompt.split()) in printed for prompt in prompts)
    rows = [line for line in (tmp_path / "out" / "prompts.md").read_text().splitlines() if "hostile | 20 |" in line]
    assert len(rows) == 3 and rows[0].startswith(r"| [bold]a\|b[/bold] \$x_1\$: hostile")
    page = html_report(HtmlReport(out=tmp_path / "out")).read_text()
    assert "a &lt;b&gt;b&lt;/b&gt; [/] `c`" in page and "<b>b</b>" not in page


def test_a_page_has_the_tables_and_images_of_each_prompt_and_set(evaluate, tmp_path, sets):
    assert evaluate("--synthetic", "before", "after", *COLOUR, "--out", "out") == 0
    page = html_report(HtmlReport(out=tmp_path / "out")).read_text()
    for words in ("Colour by prompt", "photo of a woman: after</th><td>20</td>", "Shares of colour", "fairness discrepancy FD"):
        assert words in page
    grids = re.findall(r'alt="the first (\d+) images of (\w+): ([^"]+)"', page)
    assert grids == [("8", name, prompt) for prompt in PROMPTS for name in ("before", "after")]
    content = report(tmp_path)
    (tmp_path / "out" / "prompts.json").write_text(json.dumps(content | {"contexts": 3}))
    with pytest.raises(InputError, match="prompts.json"):
        html_report(HtmlReport(out=tmp_path / "out"))


def test_nothing_to_measure_is_an_error(evaluate, sets, capsys):
    assert evaluate("--synthetic", "before", "--out", "out") == 2
    assert "nothing is measured: give --attribute, --clip or --quality" in capsys.readouterr().err


def test_help_has_examples(evaluate, capsys):
    assert evaluate("--help") == 0
    assert capsys.readouterr().out.count("jaxdiff evaluate prompts --synthetic") >= 4


def test_a_killed_command_resumes_where_it_was(evaluate, written, resumed, tmp_path, sets, folder):
    arguments = ("--synthetic", "before", "after", *COLOUR, "--clip", folder, "--out", "out")
    resumed(evaluate, tmp_path / "out", "prompts.json", arguments, 1, 3)
    assert [key.split("-")[0] for key in written] == ["clip", "external"] * 2
