"""The recipe of the text-to-image pipeline: training that resumes, latents that are whitened, and folders that load."""

import json
import math
import warnings

import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("diffusers")
    torch = pytest.importorskip("torch")
    from diffusers import AutoencoderKL, StableDiffusionPipeline
    from transformers import CLIPModel, CLIPTokenizer

from bench.text_checkpoint import fitting
from bench.text_checkpoint.autoencoder import SCALING_FACTOR, whiten
from bench.text_checkpoint.faces import faces
from bench.text_checkpoint.options import Make
from bench.text_checkpoint.plan import Plan
from bench.text_checkpoint.recipe import follow
from bench.text_checkpoint.tokenizer import BEGIN, END, write_tokenizer
from bench.text_checkpoint.unet import timesteps
from jaxdiff.conditions import tokenizer_files
from jaxdiff.data import embedded
from jaxdiff.data.embedded_captions import OCCUPATIONS, PHRASES, captions, prompt
from jaxdiff.errors import InputError

TINY = Plan(
    classifier_steps=1, autoencoder_steps=1, image_tower_steps=1, clip_steps=1, unet_steps=1,
    faces=64, held_out=16, drawn=1, drawing_steps=1
)  # fmt: skip


class Stopped(Exception):
    """In place of a kill."""


def fitted(state, stop=math.inf):
    """The parameters of a small network that is trained for 20 steps, or stopped before one of them."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))

    def loss(step):
        if step == stop:
            raise Stopped
        x = torch.randn(8, 3)
        return (network(x) - x.sum(1, keepdim=True)).square().mean()

    fitting.fit("test", network, loss, steps=20, rate=0.01, seed=3, state=state, averaged=True)
    return list(network.state_dict().values())


def test_resumed_training_gives_what_uninterrupted_training_gives(tmp_path, monkeypatch):
    monkeypatch.setattr(fitting, "SAVE_SECONDS", 0)
    expected = fitted(tmp_path / "whole")
    for stop in (7, 13):
        with pytest.raises(Stopped):
            fitted(tmp_path / "stopped", stop)
    for again in (fitted(tmp_path / "stopped"), fitted(tmp_path / "whole")):  # the latter has nothing left to do
        assert all(torch.equal(one, other) for one, other in zip(again, expected, strict=True))
    assert not torch.equal(expected[0], torch.load(tmp_path / "whole", weights_only=True)["module"]["0.weight"])  # averaged


def test_whitening_gives_each_channel_mean_0_and_variance_1_and_changes_no_reconstruction():
    torch.manual_seed(0)
    network = AutoencoderKL(block_out_channels=(16,), norm_num_groups=4, layers_per_block=1).eval()
    images, _ = faces(np.arange(64))
    with torch.no_grad():
        before, variance = network.encode(images).latent_dist.mean, network.encode(images).latent_dist.var
        expected = network.decode(before).sample
        whiten(network, images)
        after = network.encode(images).latent_dist
        torch.testing.assert_close(after.mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(after.mean.std((0, 2, 3)), torch.ones(4), atol=1e-5, rtol=0)
        torch.testing.assert_close(network.decode(after.mean).sample, expected, atol=1e-5, rtol=0)
        # the noise of the posterior is scaled as its mean
        torch.testing.assert_close(after.var * before.var((0, 2, 3))[:, None, None], variance, atol=0, rtol=1e-4)


def test_half_of_all_timesteps_are_uniform_and_half_in_the_middle():
    torch.manual_seed(0)
    drawn = torch.stack([timesteps(64) for _ in range(2000)]).numpy()
    for half, low, high in ((drawn[:, :32], 0, 1000), (drawn[:, 32:], 200, 800)):
        assert half.min() == low and half.max() == high - 1
        assert half.mean() == pytest.approx((low + high - 1) / 2, abs=1)
        assert np.std(half) == pytest.approx((high - low) / math.sqrt(12), rel=0.01)
        # one of each batch in each of 32 parts
        assert ((half - low) * 32 // (high - low) == np.arange(32)).mean() > 0.9


def test_the_tokenizer_has_words_of_one_token_and_reads_alike_everywhere(tmp_path):
    write_tokenizer(tmp_path / "both", 0)
    (tmp_path / "parts").mkdir()
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "parts" / name).write_bytes((tmp_path / "both" / name).read_bytes())
    numbers = json.loads((tmp_path / "both" / "vocab.json").read_text())
    assert numbers[END] == numbers[BEGIN] + 1 == len(numbers) - 1
    theirs = CLIPTokenizer.from_pretrained(tmp_path / "both")
    words = {word.strip(",") for values in PHRASES.values() for phrase in values for word in phrase.split()}
    for word in words | set(OCCUPATIONS) | set(prompt("engineer", "round").split()):
        assert theirs(word).input_ids == [numbers[BEGIN], numbers[f"{word}</w>"], numbers[END]]
    indices = np.arange(300)
    texts = [*captions(embedded.labels(indices), indices), "A Firefighter's 23 CATS!", "naïve"]
    expected = theirs(texts, padding="max_length", max_length=77, truncation=True).input_ids
    for folder in ("both", "parts"):
        np.testing.assert_array_equal(tokenizer_files.read(tmp_path / folder)(texts).ids, expected)


@pytest.mark.slow
def test_the_recipe_makes_folders_that_load_unchanged(tmp_path):
    options = Make(out=tmp_path / "text", clip=tmp_path / "clip", work=tmp_path / "work")
    follow(TINY, options)
    pipeline = StableDiffusionPipeline.from_pretrained(options.out)
    assert {part.dtype for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder)} == {torch.float32}
    assert pipeline.vae.config.scaling_factor == SCALING_FACTOR
    image = pipeline("a face", num_inference_steps=2, height=32, width=32, output_type="np").images
    assert image.shape == (1, 32, 32, 3) and np.isfinite(image).all()
    # the text encoder is CLIP's text tower
    tower = CLIPModel.from_pretrained(options.clip).text_model.state_dict()
    assert all(torch.equal(value, tower[name]) for name, value in pipeline.text_encoder.state_dict().items())
    assert sum(file.stat().st_size for file in options.out.rglob("*") if file.is_file()) <= 8_500_000
    assert "| firefighter | 0.9 |" in (options.out / "README.md").read_text()
    assert "glasses" in (options.clip / "README.md").read_text()
    with pytest.raises(InputError, match="--work: .* is of another plan"):
        follow(Plan(), options)
