"""`sample compare`: the sets of the columns are those of `sample draw`, and the picture has their images in their places."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file, save_file

import sample.drawing
import sample.setting
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from sample import compare as comparing
from sample.compare import SPACE, TEXT, compare
from sample.compare_options import Compare
from tests import small_pipeline
from tests.evaluate.onnx_files import redder_than_green

PROMPTS = ("a photo of a man", "a woman", "photo")
PLAIN = "plain: --guidance-scale 3 --solver ddim --steps 2"
CELL = 64 + 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pipelines")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    redder_than_green(folder / "red.onnx", shape=("N", 3, 16, 16))
    small_pipeline.folder(folder / "small", shallow=True)
    return folder


def options(folder: Path, out: Path, *columns: str, **more) -> Compare:
    given = {"model": folder / "small", "prompts": folder / "prompts.txt", "out": out, "batch_size": 4, **more}
    return Compare(columns=columns, **given)


def cell(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    title = len(picture) % (CELL + SPACE)
    top, left = title + row * (CELL + SPACE), TEXT + column * (CELL + SPACE)
    return picture[top + 3 : top + CELL - 3, left + 3 : left + CELL - 3]


def test_columns_are_sets_and_rows_are_prompts(folder, tmp_path, monkeypatch):
    values = "--gate-values green red --gate-unsafe"
    columns = (
        PLAIN, "with a negative prompt: --negative 'a man'", f"gate: --gate {folder}/red.onnx {values} red",
        f"other gate: --gate {folder}/red.onnx {values} green",
    )  # fmt: skip
    picture = np.asarray(Image.open(compare(options(folder, tmp_path / "out", *columns, images=2))))
    sets = [SampleSet.open(tmp_path / "out" / name) for name in ("plain", "with-a-negative-prompt", "gate", "other-gate")]
    assert [len(each) for each in sets] == [6] * 4
    assert [each.provenance["negative_prompt"] for each in sets] == [None, "a man", None, None]
    for column, samples in enumerate(sets):
        for row in range(6):
            index = row // 2 + row % 2 * 3  # both images of a prompt
            found = cell(picture, row, column)
            if samples.refused[index]:
                assert (np.median(found) == 225).all()
            else:
                np.testing.assert_array_equal(found, samples.image(index).repeat(4, 0).repeat(4, 1))
            assert samples.prompts[index] == PROMPTS[row // 2]
    # what one gate refuses the other lets pass
    np.testing.assert_array_equal(sets[2].refused, ~sets[3].refused)

    def none(*_, **__):
        raise AssertionError("all images are there")

    monkeypatch.setattr(sample.drawing, "sample", none)
    monkeypatch.setattr(comparing, "MOST", 2)
    again = np.asarray(Image.open(compare(options(folder, tmp_path / "out", *columns, images=2))))
    np.testing.assert_array_equal(again, picture[: len(again)])


def test_a_column_of_an_edited_model_is_drawn_from_it(folder, tmp_path, monkeypatch):
    """Each of the models is read once."""
    read, reads = comparing.load, []
    monkeypatch.setattr(comparing, "load", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(sample.setting, "load", lambda path: pytest.fail("a model is read again"))
    edited = shutil.copytree(folder / "small", tmp_path / "edited")
    (file,) = (edited / "unet").glob("*.safetensors")
    weights = load_file(file)
    save_file({name: 1.5 * array if "attn2.to_v" in name else array for name, array in weights.items()}, file)
    columns = (PLAIN, f"edited: --model {edited}", "again: --steps 2")
    compare(options(folder, tmp_path / "out", *columns))
    plain, other, again = (SampleSet.open(tmp_path / "out" / name) for name in ("plain", "edited", "again"))
    images = [np.stack([each.image(i) for i in range(len(PROMPTS))]) for each in (plain, other, again)]
    np.testing.assert_array_equal(images[0], images[2])
    assert (images[0] != images[1]).any(axis=(1, 2, 3)).all()
    assert plain.provenance["model"] != other.provenance["model"] and reads == [folder / "small", edited]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ((), "one or more columns NAME: OPTIONS with different names, got none"),
        ((PLAIN, "Plain:"), "different names"),
        ((PLAIN, "other: --steps 0"), "--columns 'other': --steps must be"),
        ((PLAIN, "other: --seed 3"), "--columns 'other' has --seed, which all columns share"),
        ((PLAIN, "other: --no-such-option 3"), "--columns 'other' has options that `jaxdiff sample draw` does not take"),
        ((PLAIN, "other: --negative 'a"), "has an open quotation mark"),
    ],
)
def test_wrong_columns_are_refused_before_anything_is_drawn(folder, tmp_path, columns, message):
    with pytest.raises(InputError, match=message):
        options(folder, tmp_path / "out", *columns)
    assert not (tmp_path / "out").exists()
