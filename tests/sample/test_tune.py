"""`jaxdiff sample tune`: each setting is drawn, the best is chosen and measured again on other noise."""

import json
from functools import partial

import numpy as np
import pytest

import sample.objective
from jaxdiff.data import Attribute, embedded
from jaxdiff.errors import InputError
from jaxdiff.fairness import TradeOff
from jaxdiff.sampleset import SampleSet
from sample.__main__ import main
from sample.command_line import made, on_line
from sample.options import Draw
from sample.tune import settings
from sample.tune_options import Tune
from tests.sample.test_objective import perfect_classifier

KNOWN = {
    "guidance-scale=1": (5.0, 0.1, 0.6),
    "guidance-scale=2": (20.0, 0.2, 0.85),
    "guidance-scale=3": (30.0, 0.4, 0.95),
}


@pytest.fixture
def measures(monkeypatch):
    """No classifier is trained: the measures are a known function of the setting, and the images are checked."""
    seen = []

    def measured(setting, images, labels, classifiers, *, seed):
        assert len(images) == len(labels) == 16 and set(labels) == {0, 1} and len(classifiers) == len(embedded.ATTRIBUTES)
        seen.append((setting, images))
        return TradeOff(setting, *KNOWN[setting])

    monkeypatch.setattr(
        sample.objective,
        "train_feature_classifiers",
        lambda spec, names, **_: [perfect_classifier(Attribute(name, ("a", "b")), 0) for name in names],
    )
    monkeypatch.setattr(sample.objective, "measure_trade_off", measured)
    return seen


@pytest.fixture
def program(call_program):
    return partial(call_program, main, "sample")


def command(folder, *more) -> list:
    solving = ["--solver", "ddim", "--steps", 4, "--count", 16]
    return [
        "tune",
        "--model",
        folder,
        "--method",
        "switching",
        "--start",
        "none",
        "--tau",
        0.5,
        *solving,
        "--out",
        "tuned",
        *more,
    ]


def test_the_best_setting_is_chosen_drawn_on_other_noise_and_its_command_draws_it(folder, program, measures, tmp_path, capsys):
    assert program(*command(folder, "--vary", "guidance-scale=1,2,3", "--retain", 0.8)) == 0
    found = json.loads((tmp_path / "tuned" / "tuning.json").read_text())
    assert found["best"] == "guidance-scale=2"
    assert [(each["setting"], each["disparity"], each["retention"]) for each in found["measured"]] == [
        (name, disparity, retention) for name, (_, disparity, retention) in KNOWN.items()
    ]
    assert (tmp_path / "tuned" / "tuning.png").exists()
    # four sets: the best is measured again, of another seed
    assert [name for name, _ in measures] == [*KNOWN, "guidance-scale=2"]
    best = SampleSet.open(tmp_path / "tuned" / "sets" / "guidance-scale-2").provenance
    again = SampleSet.open(tmp_path / "tuned" / "sets" / "again").provenance
    assert (best["guidance_scale"], best["seed"]) == (2.0, 0) and (again["guidance_scale"], again["seed"]) == (2.0, 1)
    assert not np.array_equal(measures[1][1], measures[3][1])
    words = capsys.readouterr().out.split("to draw with the best:")[1].split()
    assert words == found["command"].split()
    assert program(*words[2:-1], "drawn", "--count", 16) == 0
    drawn = SampleSet.open(tmp_path / "drawn")
    np.testing.assert_array_equal(np.stack([drawn.image(i) for i in range(16)]), measures[1][1])


def test_combinations_are_those_of_all_values(tmp_path):
    given = {"model": tmp_path, "method": "inpainting", "region": tmp_path / "region.png", "guidance_scale": 1.5}
    parsed = on_line(Tune)(**given, out=tmp_path / "out", vary=("guidance-scale=2,3", "inpaint-strength=.6,.8"))
    tries = settings(parsed.command, given)
    assert list(tries) == [
        "guidance-scale=2, inpaint-strength=.6", "guidance-scale=2, inpaint-strength=.8",
        "guidance-scale=3, inpaint-strength=.6", "guidance-scale=3, inpaint-strength=.8",
    ]  # fmt: skip
    last = tries["guidance-scale=3, inpaint-strength=.8"]
    assert (last.scale, last.method.inpaint_strength, last.count, last.seed) == (3.0, 0.8, 512, 0)
    assert last == made(
        Draw, model=tmp_path, method="inpainting", region=tmp_path / "region.png", guidance_scale=3.0, count=512,
        out=tmp_path / "out" / "sets" / "guidance-scale-3-inpaint-strength-.8",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        (("guidance-scale",), "--vary takes numbers joined by commas, such as guidance-scale=1,2,3; got guidance-scale"),
        (("guidance-scale=1,x",), "got guidance-scale=1,x"),
        (("guidance-scale=1,1.0",), "--vary takes each value once"),
        (("guidance-scale=1", "guidance-scale=2"), "--vary takes each option once, got guidance-scale twice"),
        (("colour=1,2",), "--vary takes options that are numbers"),
        (("solver=ddim,heun",), "got solver=ddim,heun"),
        (("seed=1,2",), "got seed=1,2"),
        (("tau=0.2,0.4",), "--tau is for --method switching and spectral, got --method vanilla"),
        (("guidance-scale=-1",), "--guidance-scale must be at least 0"),
        ((), "--vary takes options with the values to try"),
    ],
    ids=str,
)
def test_what_cannot_be_varied_is_an_error(tmp_path, vary, message):
    with pytest.raises(InputError) as caught:
        parsed = on_line(Tune)(model=tmp_path, out=tmp_path / "out", vary=vary)
        settings(parsed.command, {"model": tmp_path})
    assert message in str(caught.value)


def test_too_little_label_accuracy_is_an_error_that_keeps_what_is_finished(folder, program, measures, tmp_path, capsys):
    assert program(*command(folder, "--vary", "guidance-scale=1,2,3", "--retain", 0.99)) == 2
    assert "the largest is 0.95, at guidance-scale=3" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "tuned" / "tuning.json").exists()
    assert program(*command(folder, "--vary", "guidance-scale=1,2,3", "--retain", 0.9)) == 0
    assert [name for name, _ in measures] == [*KNOWN, "guidance-scale=3"]
