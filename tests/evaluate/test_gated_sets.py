"""Images that a gate refused are never evaluated: readers leave them out, keep the others' places, and reports count them."""

import numpy as np
import pytest

from evaluate import agreement, page_images, prompt_sets, report_gates
from evaluate.page import matched
from jaxdiff.data import open_data
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from tests.evaluate.prompted import PROMPTS, coloured, written

COUNT, REFUSED, AGAIN = 12, (0, 4, 5), (0, 1, 4)
GATED = {"gate": {"file": "a.onnx", "policy": "redraw", "redraws": 2}}


def gated(folder, images, refused=REFUSED, **provenance):
    """A set whose refused images are black; the images of AGAIN were drawn again."""
    mask, caught = np.isin(np.arange(COUNT), refused), np.isin(np.arange(COUNT), AGAIN) * 1
    notes = {"refused": mask, "gate_caught": np.where(mask, 3 * caught, caught).astype(np.int32), "prompt_gate_caught": mask}
    return written(folder, images * ~mask[:, None, None, None], notes=notes, **{**GATED, **provenance})


@pytest.fixture
def images():
    return coloured(np.arange(COUNT) % 2, np.arange(COUNT) % 3)


@pytest.fixture
def opened(tmp_path, images):
    written(tmp_path / "plain", images)
    gated(tmp_path / "gated", images)
    names = [str(tmp_path / name) for name in ("plain", "gated")]
    return prompt_sets.opened(names, by=None, most=COUNT, image_format={"size": None, "channels": None})


def test_prompted_images_are_those_that_are_left(opened, images):
    plain, found = opened
    left = np.setdiff1d(np.arange(COUNT), REFUSED)
    read = found.read()
    np.testing.assert_array_equal(read.images, images[left])
    assert read.prompts == tuple(PROMPTS[index % 3] for index in left) == found.contexts
    assert [each.index for each in read.drawn] == left.tolist() and len(found) == len(left)
    np.testing.assert_array_equal(found.first(PROMPTS[1], 2), images[[1, 7]])
    np.testing.assert_array_equal(plain.first(PROMPTS[1], 2), images[[1, 4]])


def test_only_images_of_the_same_noise_are_compared(opened):
    first, second = prompt_sets.same_noise(opened[0].read().drawn, opened[1].read().drawn)
    pairs = np.setdiff1d(np.arange(COUNT), (*REFUSED, *AGAIN))  # others are refused, or of other noise
    np.testing.assert_array_equal(first, pairs)
    np.testing.assert_array_equal(np.setdiff1d(np.arange(COUNT), REFUSED)[second], pairs)


def test_prompts_and_captions_belong_to_the_images(tmp_path, opened, images):
    left = np.setdiff1d(np.arange(COUNT), REFUSED)
    assert agreement.prompts_of(str(tmp_path / "gated")) == [PROMPTS[index % 3] for index in left]
    sets = [SampleSet.open(tmp_path / name) for name in ("plain", "gated")]
    shown = [page_images.read_images(open_data(each.path), PROMPTS[:2], 3, each.name, each) for each in sets]
    assert [each.tolist() for each in shown[1].indices.values()] == [[3, 6, 9], [1, 7, 10]]
    np.testing.assert_array_equal(shown[1].images[PROMPTS[1]], images[[1, 7, 10]])
    assert matched([shown[0], shown[0]]) and not matched(shown)  # of other noise


def test_what_gates_caught_is_in_a_table(tmp_path, opened):
    named = [(name, report_gates.counted(str(tmp_path / name))) for name in ("plain", "gated")]
    ((title, header, rows),) = report_gates.tables(named)
    assert header[1:] == ["asked", "prompt gate", "image gate", "redraws", "passed", "refused"]
    assert rows == [["gated", "12", "-", "3", "5", "1", "3"]]
    assert not list(report_gates.tables([("plain", {})])) and report_gates.counted("no-such-set") == {}


def test_a_set_without_images_or_notes_is_refused(tmp_path, images):
    gated(tmp_path / "all", images, refused=range(COUNT))
    with pytest.raises(InputError, match="has no image: a gate refused all 12"):
        open_data(tmp_path / "all")
    written(tmp_path / "lost", images, **GATED)
    with pytest.raises(InputError, match="was drawn with gates, and has no notes"):
        open_data(tmp_path / "lost")
