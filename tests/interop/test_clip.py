"""A CLIP folder is read whole: two encoders, a tokenizer and how images are prepared; or refused with what is wrong."""

import json

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

from jaxdiff.errors import InputError
from jaxdiff.interop import clip, clip_config, torch_names
from jaxdiff.interop.clip_config import Preparation
from jaxdiff.models.image_encoder import ImageEncoderConfig
from jaxdiff.models.text_encoder import TextEncoderConfig
from tests.conditions.bpe import NAMES, parts
from tests.models import test_image_encoder, test_text_encoder

TEXT = TextEncoderConfig(vocabulary=len(NAMES), width=8, layers=2, heads=2, inner=12, positions=12, projection=5)
IMAGE = ImageEncoderConfig(size=6, patch=3, width=12, layers=2, heads=3, inner=10, projection=5, activation="gelu")
MEAN, DEVIATION = [0.5, 0.4, 0.3], [0.2, 0.25, 0.3]
CONFIG = {
    "architectures": ["CLIPModel"], "model_type": "clip", "projection_dim": 5, "logit_scale_init_value": 2.6592,
    "text_config": {
        "vocab_size": len(NAMES), "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
        "max_position_embeddings": 12, "model_type": "clip_text_model", "num_beams": 1, "top_k": 50,
    },
    "vision_config": {
        "image_size": 6, "patch_size": 3, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3,
        "intermediate_size": 10, "hidden_act": "gelu", "model_type": "clip_vision_model", "dropout": 0.0,
    },
}  # fmt: skip
IMAGES = {
    "do_resize": True, "do_center_crop": True, "do_rescale": True, "do_normalize": True, "resample": 3, "size": 7,
    "crop_size": {"height": 6, "width": 6}, "image_mean": MEAN, "image_std": DEVIATION, "rescale_factor": 1 / 255,
}  # fmt: skip
STATE = {
    **{f"text_model.{key}" if "projection" not in key else key: array
       for key, array in torch_names.to_torch(test_text_encoder.drawn(TEXT)).items()},
    **{f"vision_model.{key}" if "projection" not in key else key: array
       for key, array in torch_names.to_torch(test_image_encoder.drawn(IMAGE)).items()},
    "logit_scale": np.array(np.log(20.0), np.float32),
}  # fmt: skip


def written(folder, config=CONFIG, images=IMAGES, state=STATE):
    parts(folder, model_max_length=12)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(images))
    safetensors.numpy.save_file(state, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    return clip.load(written(tmp_path_factory.mktemp("clip") / "model"))


def test_both_encoders_are_those_of_the_folder(read, rng):
    assert (read.text.config, read.config) == (TEXT, IMAGE) and abs(read.scale - 20) < 1e-4
    images = rng.integers(0, 256, (40, 9, 8, 3)).astype(np.uint8)  # more than are encoded at once
    vectors = read.of_images(images)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    for number in (0, 39):
        image = np.asarray(read.preparation(images[number : number + 1], *read.preparation.matrices(9, 8)))[0]
        vector = test_image_encoder.by_hand(read.network, IMAGE, image)
        np.testing.assert_allclose(vectors[number], vector / np.linalg.norm(vector), atol=1e-5)
    prompts = ["a man", "a woman"]
    pooled = read.text(prompts).pooled
    np.testing.assert_allclose(read.of_prompts(prompts), pooled / np.linalg.norm(pooled, axis=1)[:, None], rtol=1e-6)


def test_scores_and_shares_follow_from_cosines(read, rng):
    images, prompts = rng.integers(0, 256, (3, 6, 6, 3)).astype(np.uint8), ["a man", "a woman", "photo"]
    cosines = read.of_images(images) @ read.of_prompts(prompts).T
    np.testing.assert_allclose(read.scores(images, prompts), 100 * np.maximum(np.diag(cosines), 0), rtol=1e-5)
    expected = np.exp(read.scale * cosines)
    np.testing.assert_allclose(read.shares(images, prompts), expected / expected.sum(1, keepdims=True), rtol=1e-4)
    with pytest.raises(InputError, match="`prompts` must be 3, one for each image, got 2"):
        read.scores(images, prompts[:2])


@pytest.mark.parametrize(("height", "width"), [(6, 6), (9, 8), (20, 7), (5, 31)])
def test_images_are_prepared_as_pillow_does_it(height, width, rng):
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    shorter = min(height, width)
    rows, columns = (7 if each == shorter else int(7 * each / shorter) for each in (height, width))
    resized = np.asarray(Image.fromarray(image).resize((columns, rows), Image.Resampling.BICUBIC), np.float64)
    top, left = (rows - 6) // 2, (columns - 6) // 2
    expected = (resized[top : top + 6, left : left + 6] / 255 - MEAN) / DEVIATION
    preparation = Preparation(7, 6, tuple(MEAN), tuple(DEVIATION))
    ours = np.asarray(preparation(image[None], *preparation.matrices(height, width)))[0]
    np.testing.assert_allclose(ours, expected, atol=1e-5)


def test_grey_images_are_those_with_three_equal_channels_and_opacity_is_left_out(read, rng):
    grey = rng.integers(0, 256, (2, 9, 8, 1)).astype(np.uint8)
    np.testing.assert_array_equal(read.of_images(grey), read.of_images(np.repeat(grey, 3, -1)))
    np.testing.assert_array_equal(read.of_images(grey), read.of_images(np.repeat(grey, 4, -1)))
    with pytest.raises(InputError, match=r"with 1, 3 or 4 channels, got shape \(2, 9, 8, 2\)"):
        read.of_images(np.repeat(grey, 2, -1))


def test_the_settings_of_published_folders(tmp_path):
    # as OpenAI's folders have them: what the model was made with stands in a dict of its own
    text, image = (
        {key: value for key, value in CONFIG[name].items() if key != "model_type"} for name in ("text_config", "vision_config")
    )
    older = {**CONFIG, "text_config_dict": text, "vision_config_dict": image, "text_config": {}, "vision_config": {}}
    assert clip_config.read(older) == (TEXT, IMAGE)
    folder = written(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": IMAGES | {"size": {"shortest_edge": 7}}}))
    assert clip.load(folder).preparation == Preparation(7, 6, tuple(MEAN), tuple(DEVIATION))


def without(name):
    return {key: array for key, array in STATE.items() if key != name}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"config": {**CONFIG, "model_type": "siglip"}}, "model_type 'clip', got 'siglip'"),
        ({"config": {**CONFIG, "shift": 1}}, "has settings that CLIPModel lacks: 'shift'"),
        ({"config": {**CONFIG, "vision_config": {**CONFIG["vision_config"], "window": 1}}}, "CLIPVisionConfig lacks: 'window'"),
        ({"config": {**CONFIG, "text_config": {**CONFIG["text_config"], "hidden_act": "relu"}}}, "hidden_act is 'relu'"),
        ({"config": {**CONFIG, "vision_config": None}}, "vision_config must be an object, got None"),
        ({"config": {**CONFIG, "projection_dim": 6}}, "of wrong shape: text_projection.weight"),
        ({"images": {**IMAGES, "resample": 2}}, "resample is 2; jaxdiff takes 3, bicubic"),
        ({"images": {**IMAGES, "do_rescale": False}}, "do_rescale is False; jaxdiff takes true"),
        ({"images": {**IMAGES, "size": 5}}, "size 5 and crop_size 6 must make images of 6 pixels"),
        ({"images": {**IMAGES, "image_std": [0, 1, 1]}}, "image_mean and image_std must be three numbers"),
        ({"state": without("logit_scale")}, "must have one number logit_scale"),
        ({"state": without("vision_model.pre_layrnorm.bias")}, "1 missing: pre_layrnorm.bias"),
        ({"state": {**STATE, "extra": STATE["logit_scale"]}}, "has an array that CLIPModel lacks: extra"),
    ],
)
def test_folders_that_are_not_read_are_refused(change, fault, tmp_path):
    with pytest.raises(InputError, match=fault):
        clip.load(written(tmp_path / "model", **change))


def test_a_folder_without_settings_is_refused(tmp_path):
    folder = written(tmp_path / "model")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(InputError, match="has no preprocessor_config.json, which says how images are prepared"):
        clip.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match="is no folder of a CLIPModel: it has no config.json"):
        clip.load(folder)
