"""Our CLIP compared with transformers' CLIPModel: vectors of images and prompts, logits, and how images are prepared."""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from jaxdiff.conditions import templates
from jaxdiff.interop import clip
from jaxdiff.interop.zero_shot import ZeroShotClassifier
from tests.conditions.bpe import END, NAMES, VOCABULARY, parts

TOLERANCE = 2e-6
TEXT = {
    "vocab_size": len(NAMES), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "eos_token_id": VOCABULARY[END], "bos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
VISION = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 24,
    "patch_size": 8, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
}  # fmt: skip
PROMPTS = ["a photo of a man", "a woman", ""]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Their model, their preparation of images, and ours from the folder that they write."""
    folder = tmp_path_factory.mktemp("clip") / "model"
    theirs = transformers.CLIPModel(transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=20)).eval()
    rng, state = np.random.default_rng(0), theirs.state_dict()
    for name, weight in state.items():
        if name != "logit_scale":
            normal = rng.standard_normal(tuple(weight.shape))
            fan_in = np.sqrt(np.prod(weight.shape[1:])) if weight.ndim > 1 else 1
            drawn = name.endswith("weight") + 0.1 * normal if weight.ndim == 1 else normal / fan_in
            state[name] = torch.from_numpy((0.3 * normal if "embedding" in name else drawn).astype(np.float32))
    theirs.load_state_dict(state)
    theirs.save_pretrained(folder)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 24, "width": 24})
    processor.save_pretrained(folder)
    parts(folder, pad="!")
    return theirs, processor, clip.load(folder)


def relative(ours, expected) -> float:
    assert np.std(expected) > 0.05
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


@pytest.mark.parametrize(("height", "width"), [(24, 24), (64, 41), (20, 33)])
def test_images_and_prompts_have_the_vectors_of_transformers(height, width, pair, rng):
    theirs, processor, ours = pair
    images = rng.integers(0, 256, (3, height, width, 3)).astype(np.uint8)
    pixels = processor(images=list(images), return_tensors="pt", input_data_format="channels_last").pixel_values
    prepared = np.array(ours.preparation(images, *ours.preparation.matrices(height, width)))
    np.testing.assert_allclose(prepared, pixels.numpy().transpose(0, 2, 3, 1), atol=1.01 / 255 / 0.26)
    assert np.mean(np.abs(prepared - pixels.numpy().transpose(0, 2, 3, 1)) > 1e-5) < 1e-3  # of a level, at ties of rounding

    tokens = ours.text.tokenizer(PROMPTS).ids
    with torch.no_grad():
        output = theirs(
            input_ids=torch.from_numpy(tokens).long(), pixel_values=torch.from_numpy(prepared.transpose(0, 3, 1, 2))
        )
    assert relative(ours.of_images(images), output.image_embeds.numpy()) < TOLERANCE
    assert relative(ours.of_prompts(PROMPTS), output.text_embeds.numpy()) < TOLERANCE
    np.testing.assert_allclose(ours.shares(images, PROMPTS), output.logits_per_image.softmax(-1), atol=1e-5)
    cosines = (output.image_embeds * output.text_embeds).sum(-1).numpy()
    np.testing.assert_allclose(ours.scores(images, PROMPTS), 100 * np.maximum(cosines, 0), atol=1e-4)


def test_classes_by_prompts_are_those_of_their_logits(pair, rng):
    theirs, _, ours = pair
    images = rng.integers(0, 256, (5, 24, 24, 3)).astype(np.uint8)
    prompts = ["a man", "a woman", "a photo"]
    classifier = ZeroShotClassifier(ours, templates.describe(f"who: {' | '.join(prompts)}"))
    tokens = torch.from_numpy(ours.text.tokenizer(prompts).ids).long()
    prepared = np.array(ours.preparation(images, *ours.preparation.matrices(24, 24)))
    pixels = torch.from_numpy(prepared.transpose(0, 3, 1, 2))
    with torch.no_grad():
        expected = theirs(input_ids=tokens, pixel_values=pixels).logits_per_image.softmax(-1).numpy()
    np.testing.assert_allclose(classifier.shares(images), expected, atol=1e-5)
    np.testing.assert_array_equal(classifier.predict(images), expected.argmax(-1))
