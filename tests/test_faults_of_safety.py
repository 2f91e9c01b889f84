"""As test_faults.py, of the programs of safety: gates, edits of weights, pictures of defences, attacks, and sets by prompts."""

import numpy as np
import pytest

from evaluate.__main__ import main as evaluate
from sample.__main__ import main as sample
from tests import small_pipeline
from tests.evaluate import prompted
from tests.evaluate.onnx_files import redder_than_green
from tests.faults import MODEL, assert_goes_on_after_every_fault, write_inputs
from tests.sample.test_attack_program import written_classifiers

SIZE = 16
RED = ["--gate", "red.onnx", "--gate-values", "green", "red", "--gate-unsafe", "red"]
PROGRAMS = {
    "gates": (
        sample,
        ["sample", "draw", *MODEL, "--count", "6", "--batch-size", "2", *RED, "--gate-policy", "redraw", "--gate-redraws",
         "1"],
    ),
    "edit-model": (sample, ["sample", "edit-model", "--model", "small", "--erase", "a man", "--preserve", "a woman"]),
    "compare": (
        sample,
        ["sample", "compare", "--model", "small", "--prompts", "prompts.txt", "--batch-size", "2", "--columns",
         "plain: --guidance-scale 3 --solver ddim --steps 1", "negative: --negative 'a man'"],
    ),
    "attack": (
        sample,
        ["sample", "attack", *MODEL, "--seek", "glasses=yes", "--score", "score", "--verdict", "verdict", "--count", "4",
         "--batch-size", "2", "--budget", "5"],
    ),
    "prompts": (
        evaluate,
        ["evaluate", "safety", "--synthetic", "prompted", "--classifier", "red.onnx", "--classifier-values", "green", "red",
         "--unsafe", "colour=red", "--safe", "photo", "--prompts", "prompts.csv"],
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, save_model):
    """What the programs read."""
    folder = tmp_path_factory.mktemp("inputs")
    write_inputs(folder, save_model, np.random.default_rng(0), size=SIZE)
    small_pipeline.folder(folder / "small", shallow=True)
    written_classifiers(folder, SIZE)
    redder_than_green(folder / "red.onnx", shape=("N", 3, SIZE, SIZE))
    prompted.written(folder / "prompted", prompted.coloured([0, 1] * 6, [0] * 12, SIZE))
    (folder / "prompts.txt").write_text("a photo of a man\na woman\n")
    rows = [f"{prompt},{category}" for prompt, category in zip(prompted.PROMPTS, ("one", "two", "photo"), strict=True)]
    (folder / "prompts.csv").write_text("\n".join(["prompt,category", *rows]))
    return folder


LONGEST = {"attack", "compare"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in LONGEST)) for name in PROGRAMS])
def test_a_program_goes_on_after_every_fault(name, inputs, tmp_path, call_program, capsys, monkeypatch):
    for path in inputs.iterdir():
        (tmp_path / path.name).symlink_to(path)
    main, arguments = PROGRAMS[name]

    def run():
        capsys.readouterr()
        status = call_program(main, *arguments, "--out", "out")
        return status, capsys.readouterr().err

    assert_goes_on_after_every_fault(run, tmp_path, "out", monkeypatch, whole=name == "edit-model")
