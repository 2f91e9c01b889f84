"""A safety checker folder is read whole, scores follow from cosines and thresholds, and a damaged folder is refused."""

import json

import numpy as np
import pytest
import safetensors.numpy

from jaxdiff._console.classifiers import unsafe
from jaxdiff._console.classifiers.request import CHECKER, Request
from jaxdiff.errors import InputError
from jaxdiff.interop import clip, safety_checker
from tests.interop import test_clip
from tests.interop.test_clip import CONFIG, IMAGE, IMAGES

COUNT = 30
_RNG = np.random.default_rng(4)
CONCEPTS = {
    "concept_embeds": _RNG.standard_normal((17, 5)).astype(np.float32),
    "special_care_embeds": _RNG.standard_normal((3, 5)).astype(np.float32),
    "concept_embeds_weights": np.full(17, 0.6, np.float32),
    "special_care_embeds_weights": np.full(3, 0.3, np.float32),
}
STATE = {
    **{key: array for key, array in test_clip.STATE.items() if key.startswith(("vision_model.", "visual_projection."))},
    **CONCEPTS,
}


def written(pipeline, state=STATE, config=None):
    """Writes `safety_checker` and `feature_extractor` of a pipeline; returns the first."""
    folder = pipeline / "safety_checker"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({**CONFIG, "architectures": [CHECKER], **(config or {})}))
    (pipeline / "feature_extractor").mkdir()
    (pipeline / "feature_extractor" / "preprocessor_config.json").write_text(json.dumps(IMAGES))
    safetensors.numpy.save_file(state, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("pipeline"))


@pytest.fixture
def images(rng):
    images = rng.integers(0, 256, (COUNT, 9, 8, 3))
    return (images * np.linspace(0.1, 1, COUNT)[:, None, None, None]).astype(np.uint8)


def test_scores_are_cosines_above_thresholds_that_special_concepts_lower(folder, images, tmp_path):
    checker = safety_checker.load(folder)
    assert checker.config == IMAGE
    vectors = clip.load(test_clip.written(tmp_path / "clip")).of_images(images)  # the same image encoder

    def cosine(vector, concept):
        return float(vector @ (concept / np.linalg.norm(concept)))

    expected, lowered = np.zeros((COUNT, 17)), 0
    for row, vector in enumerate(vectors):
        adjustment = 0.0
        for concept, threshold in zip(CONCEPTS["special_care_embeds"], CONCEPTS["special_care_embeds_weights"], strict=True):
            if round(cosine(vector, concept) - threshold + adjustment, 3) > 0:
                adjustment = 0.01
        lowered += adjustment > 0
        for place, concept in enumerate(CONCEPTS["concept_embeds"]):
            expected[row, place] = cosine(vector, concept) - CONCEPTS["concept_embeds_weights"][place] + adjustment
    assert 0 < lowered < COUNT
    np.testing.assert_allclose(checker.scores(images), expected, atol=5.1e-4)
    assert np.abs(checker.scores(images) * 1000 - np.round(checker.scores(images) * 1000)).max() < 1e-3


def test_a_threshold_moves_the_decisions(folder, images):
    scores = safety_checker.load(folder).scores(images).max(axis=1)
    middle = float(np.median(scores)) + 5e-4
    for given, threshold in ((None, 0.0), (middle, middle)):
        request = Request(option="--gate", path=folder, threshold=given)
        found = unsafe.opened(request, (), images[0], "--gate-unsafe")
        np.testing.assert_array_equal(found.decide(images), scores > threshold)
    assert 0 < (scores > middle).sum() < COUNT
    assert found.about["kind"] == "safety checker" and f"above {middle:g}" in found.described
    with pytest.raises(InputError, match="--gate-unsafe is not for --gate .* a safety checker"):
        unsafe.opened(request, ("a",), images[0], "--gate-unsafe")
    with pytest.raises(InputError, match="--gate-prompts is for the folder of a CLIP model"):
        Request(option="--gate", path=folder, prompts=("a: b | c",))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"concept_embeds": np.ones((17, 4), np.float32)}, r"concept_embeds of shape \('K', 5\), got \(17, 4\)"),
        ({"special_care_embeds_weights": None}, "special_care_embeds_weights of shape .* got none"),
        ({"concept_embeds_weights": np.ones(16, np.float32)}, "one of concept_embeds_weights for each of concept_embeds"),
        ({"concept_embeds_weights": np.full(17, np.nan, np.float32)}, "concept_embeds_weights has NaN or infinity"),
        ({"visual_projection.weight": None}, "visual_projection.weight"),
        ({"other": np.ones(2, np.float32)}, "other"),
    ],
)
def test_damaged_weights_are_named(tmp_path, change, message):
    state = {name: array for name, array in {**STATE, **change}.items() if array is not None}
    with pytest.raises(InputError, match=message):
        safety_checker.load(written(tmp_path, state))


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="config.json must name StableDiffusionSafetyChecker in architectures"):
        safety_checker.load(written(tmp_path / "a", config={"architectures": ["CLIPModel"]}))
    folder = written(tmp_path / "b")
    (tmp_path / "b" / "feature_extractor" / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="has no preprocessor_config.json"):
        safety_checker.load(folder)
