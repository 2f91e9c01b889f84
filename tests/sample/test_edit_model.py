"""`jaxdiff sample edit-model`: the folder is what the library makes, once, and what the options say is what is done."""

from functools import partial

import pytest

import jaxdiff
from jaxdiff.safety import erase
from jaxdiff.sampleset import SampleSet
from sample.__main__ import main
from tests import small_pipeline

MAN, WOMAN = "a photo of a man", "a photo of a woman"


@pytest.fixture
def call(call_program, tmp_path):
    """Calls the program beside a pipeline."""
    small_pipeline.folder(tmp_path / "sd", shallow=True)
    return partial(call_program, main, "sample", "edit-model")


def printed(capsys) -> str:
    return " ".join(capsys.readouterr().out.split())


def test_the_folder_is_the_edited_model(call, call_program, tmp_path, capsys):
    """It is written once, is not overwritten by another one, and draws."""
    (tmp_path / "kept.txt").write_text(f"photo\n\n{WOMAN}\n")
    edit = partial(call, "--model", "sd", "--erase", MAN, "--towards", WOMAN, "--preserve", "kept.txt", "of", "--out", "erased")
    assert edit() == 0
    told = printed(capsys)
    assert told.count(f"{WOMAN} target") == 1 and f"{WOMAN} preserved" not in told and "(empty) preserved" in told
    assert f"{MAN} erased" in told and "photo preserved" in told and "of preserved" in told and told.endswith("in erased")
    expected = erase(jaxdiff.load(tmp_path / "sd"), [MAN], towards=WOMAN, preserve=["photo", WOMAN, "of"])
    for change in expected.changes:
        assert f"{change.moved:.3g}" in told
    read = jaxdiff.load(tmp_path / "erased")
    assert small_pipeline.same(read, expected.model) and read.fingerprint == expected.model.fingerprint
    assert read.training["erased"]["preserved"] == [WOMAN, "", "photo", "of"]
    written = (tmp_path / "erased/unet/diffusion_pytorch_model.safetensors").stat().st_mtime_ns
    assert edit() == 0
    assert (tmp_path / "erased/unet/diffusion_pytorch_model.safetensors").stat().st_mtime_ns == written
    assert edit("--regulariser", "2") == 2
    assert "already exists and is not empty" in capsys.readouterr().err
    options = ("--prompt", MAN, "--solver", "ddim", "--steps", "1", "--count", "2", "--batch-size", "2")
    assert call_program(main, "sample", "draw", "--model", "erased", *options, "--out", "set") == 0
    provenance = SampleSet.open(tmp_path / "set").provenance
    assert provenance["model"] == read.fingerprint and provenance["model_training"]["erased"]["concepts"] == [MAN]


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("uce", {"erase_scale": 2.0, "preserve_scale": 0.5, "regulariser": 0.3}),
        ("rece", {"epochs": 1, "closeness": 0.2, "erase_scale": 0.5}),
        ("speed", {"threshold": 0.1, "regulariser": 0.2}),
    ],
)
def test_every_option_of_a_method_reaches_it(method, options, call, tmp_path, capsys):
    given = [text for name, value in options.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    assert call("--model", "sd", "--erase", MAN, "--method", method, *given, "--dry-run", "--out", "erased") == 0
    told = printed(capsys)
    plain = jaxdiff.load(tmp_path / "sd")
    expected = erase(plain, [MAN], method=method, **options)
    assert f"size of the change: {expected.size:.3g} of" in told
    for name in options:
        other = erase(plain, [MAN], method=method, **{**options, name: 3 * options[name]})
        assert f"{other.size:.3g}" != f"{expected.size:.3g}", name
    assert [path.name for path in tmp_path.iterdir()] == ["sd"]  # a dry run writes nothing


def test_what_cannot_be_done_is_said_before_anything_is_written(call, tmp_path, capsys):
    (tmp_path / "none.txt").write_text("\n")
    common = ("--model", "sd", "--out", "erased")
    for given, words in (
        ((*common, "--erase", MAN, "--epochs", "2"), "--epochs is for --method rece, got 2 with --method uce"),
        ((*common, "--erase", MAN, "--method", "speed", "--erase-scale", "2"), "--erase-scale is for --method uce and rece"),
        ((*common, "--erase", MAN, "--regulariser", "0"), "--regulariser must be above 0"),
        ((*common, "--erase"), "--erase takes at least one concept, got none"),
        ((*common, "--erase", "none.txt"), "--erase takes at least one concept, got none.txt"),
        ((*common, "--erase", "missing.txt"), "missing.txt"),
        ((*common, "--erase", MAN, "--preserve", MAN), "cannot be erased and preserved"),
        ((*common, "--erase", MAN, WOMAN, "--towards", "a", "b", "c"), "one for each of 2 concepts, got 3"),
        (("--model", "sd", "--out", "sd", "--erase", MAN), "--out sd is the model"),
        (
            ("--model", "embedded", "--out", "erased", "--erase", MAN),
            "takes a text-to-image model, and embedded takes no prompts",
        ),
    ):
        assert call(*given) == 2
        assert words in " ".join(capsys.readouterr().err.split()), given
    assert not (tmp_path / "erased").exists() and not list(tmp_path.glob("*.parts"))
