"""Concepts of a text-to-image model are erased: which columns are taken, what is told, and what the model then is."""

import json
from functools import cache

import numpy as np
import pytest

import jaxdiff
from jaxdiff.errors import InputError
from jaxdiff.safety import columns, erase, text_kernels, uce
from tests import small_pipeline

MAN, WOMAN = "a photo of a man", "a photo of a woman"


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """A pipeline as it is read, by whether it is of the kind XL."""
    place = tmp_path_factory.mktemp("pipelines")
    return cache(lambda xl: jaxdiff.load(small_pipeline.folder(place / f"xl {xl}", xl=xl)))


@pytest.fixture(params=[False, True], ids=["SD", "XL"])
def model(request, read):
    return read(request.param)


@pytest.fixture
def plain(read):
    return read(False)


def states(model, prompt) -> np.ndarray:
    return np.asarray(model.conditions.encode_prompts([prompt])["text"][0], np.float64)


def ends(model, prompt) -> int:
    """The position of the first end token."""
    return int(model.conditions.encoders[0].tokenizer([prompt]).ends[0])


def test_erased_columns_begin_with_the_last_token(model):
    """Of prompts of equal and of different lengths; the last token of the empty prompt is the begin token."""
    man, woman, empty = (states(model, prompt) for prompt in (MAN, WOMAN, ""))
    last = ends(model, MAN) - 1
    assert last == 6 and ends(model, "") == 1
    found = columns(model.conditions, [MAN, WOMAN], [WOMAN, ""], [])
    np.testing.assert_array_equal(found.concepts, np.concatenate([man[last:], woman[last:]]))
    np.testing.assert_array_equal(found.targets, np.concatenate([woman[last:], empty[: len(empty) - last]]))
    assert found.preserved.shape == (0, man.shape[1]) and found.counts == (6, 6)


def test_shared_columns_count_once_and_are_not_erased(model):
    """A preserved prompt begins as the concept does and goes on: what the concept ends with is in it, too."""
    longer = f"{MAN} man"
    found = columns(model.conditions, [MAN], [WOMAN], [WOMAN, "", longer])
    man, other, woman, empty = (states(model, prompt) for prompt in (MAN, longer, WOMAN, ""))
    last = ends(model, MAN) - 1
    np.testing.assert_array_equal(man[last], other[last])
    np.testing.assert_array_equal(found.concepts, man[last + 1 :])
    np.testing.assert_array_equal(found.targets, woman[last + 1 :])
    # the begin token of all three, and what the two long ones begin with
    assert len(found.preserved) == 3 * len(man) - 2 - (last - 1)
    assert len(np.unique(found.preserved, axis=0)) == len(found.preserved)
    assert {row.tobytes() for row in found.preserved} == {row.tobytes() for each in (other, woman, empty) for row in each}


def test_the_edit_is_that_of_the_columns_and_its_changes_are_told(model):
    found = erase(model, [MAN], towards=WOMAN, preserve=["photo", WOMAN], regulariser=0.01, preserve_scale=2.0)
    taken = columns(model.conditions, [MAN], [WOMAN], [WOMAN, "", "photo"])
    expected = uce(model.network.weights, *taken[:3], regulariser=0.01, preserve_scale=2.0)
    kernels = [text_kernels(each) for each in (model.network.weights, expected, found.model.network.weights)]
    for path in kernels[0]:
        np.testing.assert_array_equal(kernels[1][path], kernels[2][path])
    before, after = (np.concatenate(list(each.values()), 1) for each in (kernels[0], kernels[2]))
    share = lambda part, whole: np.linalg.norm(part) / np.linalg.norm(whole)  # noqa: E731
    # a target that is preserved, too, is told once
    assert [each[:2] for each in found.changes] == [
        (MAN, "erased"), (WOMAN, "target"), ("", "preserved"), ("photo", "preserved")
    ]  # fmt: skip
    for change in found.changes:
        own = states(model, change.prompt)
        assert change.moved == pytest.approx(share(own @ (after - before), own @ before), rel=1e-9)
    wanted = taken.targets @ before
    assert found.changes[0].before == pytest.approx(share(taken.concepts @ before - wanted, wanted), rel=1e-9)
    assert found.changes[0].after == pytest.approx(share(taken.concepts @ after - wanted, wanted), rel=1e-9)
    assert all(each.before is None and each.after is None for each in found.changes[1:])
    assert found.size == pytest.approx(share(after - before, before), rel=1e-9)
    assert found.changes[0].after < found.changes[0].before


def test_only_the_unet_changes_and_the_folder_is_the_model(model, tmp_path):
    found = erase(model, [MAN, WOMAN], method="speed", threshold=0.5)
    own, edited = small_pipeline.parts(model), small_pipeline.parts(found.model)
    differing = {(part, path) for part in own for path in own[part] if not np.array_equal(own[part][path], edited[part][path])}
    assert differing == {("unet", path) for path in text_kernels(model.network.weights)}
    jaxdiff.interop.save(tmp_path / "erased", found.model)
    again = jaxdiff.load(tmp_path / "erased")
    assert small_pipeline.same(again, found.model) and again.fingerprint == found.model.fingerprint != model.fingerprint


def test_a_folder_says_what_was_erased_and_what_was_before(plain, tmp_path):
    once = erase(plain, [MAN], towards=WOMAN, preserve=["photo"], method="rece", epochs=1).model
    jaxdiff.interop.save(tmp_path / "erased", erase(once, [WOMAN], preserve=[MAN]).model)
    training = jaxdiff.load(tmp_path / "erased").training
    assert json.loads(json.dumps(training)) == {
        "erased": {
            "method": "uce", "concepts": [WOMAN], "towards": [""], "preserved": ["", MAN], "erase_scale": 1.0,
            "preserve_scale": 1.0, "regulariser": 0.1,
        },
        "before": {
            "erased": {
                "method": "rece", "concepts": [MAN], "towards": [WOMAN], "preserved": [WOMAN, "", "photo"], "epochs": 1,
                "closeness": 0.1, "erase_scale": 1.0, "preserve_scale": 1.0, "regulariser": 0.1,
            },
            "before": {"imported": "diffusers, xl False"},
        },
    }  # fmt: skip


def test_without_concepts_the_model_is_itself(model):
    for method in ("uce", "rece", "speed"):
        found = erase(model, [], preserve=[MAN], method=method)
        assert found.model is model and found.size == 0
        assert [each[:3] for each in found.changes] == [("", "preserved", 0), (MAN, "preserved", 0)]


def test_prompts_and_options_that_do_not_fit_are_errors(plain):
    for given, words in (
        ({"concepts": [MAN, " "]}, "`concepts` must be different texts, none empty"),
        ({"concepts": [MAN, MAN]}, "`concepts` must be different texts"),
        (
            {"concepts": [MAN], "preserve": [MAN.upper()]},
            "'a photo of a man' cannot be erased and preserved: .* 'A PHOTO OF A MAN'",
        ),
        ({"concepts": [MAN], "towards": MAN}, "cannot be erased and preserved"),
        ({"concepts": [MAN, WOMAN], "towards": [""] * 3}, "one prompt, or one for each of 2 concepts, got 3"),
        ({"concepts": [MAN], "method": "esd"}, "`method` must be one of uce, rece, speed, got 'esd'"),
        ({"concepts": [MAN], "threshold": 1.0}, "`method` uce takes erase_scale, preserve_scale, regulariser, got threshold"),
        ({"concepts": [MAN], "regulariser": -1.0}, "`regulariser` must be above 0"),
    ):
        with pytest.raises(InputError, match=words):
            erase(plain, **given)
    full = "photo " * 20  # cut: its last state is that of the longer prompt's end token, and all others are the same
    with pytest.raises(InputError, match="cannot be erased and preserved|has no column that is not one of a preserved"):
        erase(plain, [full], preserve=[full + "man"])
    with pytest.raises(InputError, match="must be a text-to-image model"):
        erase(jaxdiff.load("embedded"), [MAN])
