"""Our safety checker compared with diffusers' StableDiffusionSafetyChecker on small random folders: scores and decisions."""

import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    diffusers_checker = pytest.importorskip("diffusers.pipelines.stable_diffusion.safety_checker")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from safetensors.numpy import load_file, save_file

from jaxdiff.interop import safety_checker

VISION = {
    "hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 24,
    "patch_size": 8,
}  # fmt: skip
COUNT, WIDTH = 48, 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Their checker, and the pipeline folder that they write, with our folder of the checker in it."""
    folder = tmp_path_factory.mktemp("pipeline")
    config = transformers.CLIPConfig(text_config={}, vision_config=VISION, projection_dim=WIDTH)
    theirs = diffusers_checker.StableDiffusionSafetyChecker(config).eval()
    rng, state = np.random.default_rng(0), theirs.state_dict()
    for name, weight in state.items():
        normal = rng.standard_normal(tuple(weight.shape))
        if "embeds_weights" in name:
            drawn = 0.05 + 0.1 * rng.random(tuple(weight.shape))
        elif "_embeds" in name:
            drawn = normal
        else:
            fan_in = np.sqrt(np.prod(weight.shape[1:])) if weight.ndim > 1 else 1
            drawn = name.endswith("weight") + 0.1 * normal if weight.ndim == 1 else normal / fan_in
        state[name] = torch.from_numpy(np.asarray(drawn, np.float32))
    theirs.load_state_dict(state)
    processor = CLIPImageProcessorPil(size={"shortest_edge": 28}, crop_size={"height": 24, "width": 24})
    processor.save_pretrained(folder / "feature_extractor")
    return theirs, folder


def images_of(theirs, ours, rng):
    """Images, some of which their checker refuses and some of which it does not: concepts lie near the vectors of some."""
    images = rng.integers(0, 256, (COUNT, 30, 30, 3)).astype(np.uint8)
    images[:, ::2] //= np.linspace(1, 9, COUNT).astype(np.uint8)[:, None, None, None]
    return images


def test_scores_and_decisions_are_those_of_diffusers(pair, rng, tmp_path):
    theirs, folder = pair
    theirs.save_pretrained(folder / "safety_checker")
    ours = safety_checker.load(folder / "safety_checker")
    images = images_of(theirs, ours, rng)
    prepared = np.array(ours.preparation(images, *ours.preparation.matrices(30, 30)))
    pixels = torch.from_numpy(prepared.transpose(0, 3, 1, 2))
    with torch.no_grad():
        embeds = theirs.visual_projection(theirs.vision_model(pixels)[1])
    # thresholds that divide the images, with and without the special concepts
    for kind in ("concept_embeds", "special_care_embeds"):
        cosines = diffusers_checker.cosine_distance(embeds, getattr(theirs, kind)).numpy()
        quantile = 0.96 if kind == "concept_embeds" else 0.8
        getattr(theirs, f"{kind}_weights").data = torch.from_numpy(np.quantile(cosines, quantile, axis=0).astype(np.float32))
    theirs.save_pretrained(folder / "safety_checker")
    ours = safety_checker.load(folder / "safety_checker")

    seen = []
    diffusers_checker.round = lambda x, digits: seen.append(round(x, digits)) or seen[-1]
    try:
        _, refused = theirs(pixels, np.zeros((COUNT, 4, 4, 3)))
    finally:
        del diffusers_checker.round
    special, concepts = len(ours.special), len(ours.concepts)
    expected = np.array(seen, np.float32).reshape(COUNT, special + concepts)[:, special:]
    scores = ours.scores(images)
    # a score that is rounded up here and down there differs by a unit of the third decimal
    assert (np.abs(scores - expected) > 1e-6).mean() < 0.01 and np.abs(scores - expected).max() < 1.1e-3
    found = np.array(refused)
    assert 5 < found.sum() < COUNT - 5
    np.testing.assert_array_equal(scores.max(axis=1) > 0, found)


def test_cosines_are_those_of_diffusers(pair, rng):
    theirs, folder = pair
    theirs.save_pretrained(folder / "safety_checker")
    ours = safety_checker.load(folder / "safety_checker")
    images = rng.integers(0, 256, (4, 24, 41, 3)).astype(np.uint8)
    prepared = np.array(ours.preparation(images, *ours.preparation.matrices(24, 41)))
    with torch.no_grad():
        embeds = theirs.visual_projection(theirs.vision_model(torch.from_numpy(prepared.transpose(0, 3, 1, 2)))[1])
    expected = diffusers_checker.cosine_distance(embeds, theirs.concept_embeds).numpy()
    found = safety_checker.vectors(ours.network, ours.preparation, images) @ safety_checker.unit(ours.concepts).T
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_older_names_of_arrays_are_read(pair):
    theirs, folder = pair
    theirs.save_pretrained(folder / "safety_checker")
    file = folder / "safety_checker" / "model.safetensors"
    held = load_file(file)
    vision = {key for key in held if key.startswith("vision_model.")}
    once = {key.replace("vision_model.vision_model.", "vision_model."): array for key, array in held.items()}
    twice = {(f"vision_model.{key}" if key.startswith("vision_model.") else key): array for key, array in once.items()}
    assert vision
    fingerprints = set()
    for state in (once, twice):
        save_file({**state, "vision_model.embeddings.position_ids": np.arange(10)}, file)
        fingerprints.add(safety_checker.load(folder / "safety_checker").fingerprint)
    assert len(fingerprints) == 1
