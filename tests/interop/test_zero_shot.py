"""Zero-shot classification is the nearest mean vector of prompts, and that of one prompt a value is CLIP's own choice."""

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from jaxdiff.conditions import templates
from jaxdiff.interop import clip
from jaxdiff.interop.zero_shot import ZeroShotClassifier
from tests.interop.test_clip import IMAGES, STATE, written


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return clip.load(written(tmp_path_factory.mktemp("clip") / "model"))


def test_of_one_prompt_a_value_the_classes_and_shares_are_those_of_the_prompts(model, rng):
    prompts = ("a man", "a woman", "photo")
    classifier = ZeroShotClassifier(model, templates.describe("who: " + " | ".join(prompts)))
    images = rng.integers(0, 256, (40, 6, 6, 3)).astype(np.uint8)
    shares = model.shares(images, prompts)
    np.testing.assert_allclose(classifier.shares(images), shares, rtol=1e-5)
    predicted = classifier.predict(images)
    np.testing.assert_array_equal(predicted, shares.argmax(axis=1))
    assert len(set(predicted.tolist())) > 1 and classifier.attribute.values == prompts


def test_of_several_prompts_a_value_it_is_the_nearest_of_their_means(model, rng):
    prompts = (("a man", "photo of a man"), ("a woman", "photo of a woman", "woman"))
    classifier = ZeroShotClassifier(model, templates.Descriptions(templates.parse("who: a man | a woman").attribute, prompts))
    images = rng.integers(0, 256, (60, 6, 6, 3)).astype(np.uint8)
    means = np.stack([np.mean([model.of_prompts([each])[0] for each in of_value], axis=0) for of_value in prompts])
    cosines = cosine_similarity(model.of_images(images), means)
    np.testing.assert_array_equal(classifier.predict(images), cosines.argmax(axis=1))
    logits = np.exp(model.scale * cosines)
    np.testing.assert_allclose(classifier.shares(images), logits / logits.sum(axis=1, keepdims=True), rtol=1e-4)


def test_what_is_made_of_images_is_identified(model, tmp_path):
    assert clip.load(written(tmp_path / "same")).fingerprint == model.fingerprint
    for name, change in {
        "cut": {"images": IMAGES | {"size": 8}},
        "image": {"state": {**STATE, "visual_projection.weight": STATE["visual_projection.weight"] + 1}},
        "text": {"state": {**STATE, "text_projection.weight": STATE["text_projection.weight"] + 1}},
    }.items():
        assert clip.load(written(tmp_path / name, **change)).fingerprint != model.fingerprint
