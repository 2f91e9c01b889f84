"""SAFREE's filter against the same steps with transformers' text encoder and tokenizer, in float64."""

import os
import warnings
from dataclasses import replace

import numpy as np
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

import jaxdiff as jd
from jaxdiff import shipped
from jaxdiff.conditions import PromptEncoder, Prompts, safree
from jaxdiff.interop import text_encoder_config
from tests.oracles.test_text_encoder_against_transformers import drawn, filled

PROMPTS = [
    "a color photo of the face of a person, with a beard",
    "a color photo of the face of a square firefighter with glasses, smiling",
    "with long hair, with a beard",
    "the face of a person",
]
CONCEPTS = ["with a beard", "with glasses"]
TOLERANCE = 2e-5
ENDS = "bos", "eos", "pad"


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.CLIPTokenizer.from_pretrained(shipped.place(shipped.TEXT) / "tokenizer")


@pytest.fixture(scope="module")
def towers(tokenizer):
    """Of the shipped pipeline, and one with random weights: ours and theirs."""
    model = jd.load(shipped.TEXT)
    (own,) = model.conditions.encoders
    pretrained = transformers.CLIPTextModel.from_pretrained(shipped.place(shipped.TEXT) / "text_encoder")
    random = ours, theirs = drawn_tower(transformers.CLIPTextModel, own.tokenizer, tokenizer, 0)
    second = drawn_tower(transformers.CLIPTextModelWithProjection, own.tokenizer, tokenizer, 1, projection_dim=48)
    xl = Prompts((replace(ours, skip=1, normalised=False), replace(second[0], skip=1, normalised=False)), size=(32, 32))
    return {
        "shipped": (model.conditions, pretrained.double().eval()),
        "random": (Prompts((random[0],)), theirs),
        "XL": (xl, second[1]),
    }


def drawn_tower(kind, own, tokenizer, seed: int, **config):
    """A text encoder with random weights: ours and theirs."""
    rng, ends = np.random.default_rng(seed), {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ENDS}
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        **ends, **config,
    )  # fmt: skip
    tower = kind(config).eval()
    state = {name: drawn(name, tuple(weight.shape), rng) for name, weight in tower.state_dict().items()}
    tower.load_state_dict({name: torch.from_numpy(weight) for name, weight in state.items()})
    ours = text_encoder_config.read({**config.to_dict(), "architectures": [kind.__name__]})
    network = filled(ours, {name.removeprefix("text_model."): weight for name, weight in state.items()})
    return PromptEncoder(own, ours, network), tower.double()


def theirs(tower, tokenizer, prompt: str):
    """The filtered states, masked positions, b and t' of one prompt; of XL's second tower from the layer before the last."""
    xl = hasattr(tower, "text_projection")
    at_end = "text_embeds" if xl else "pooler_output"
    with torch.no_grad():
        said = tower(**tokenizer(CONCEPTS, padding="max_length", return_tensors="pt"))[at_end].T
        given = tokenizer(prompt, padding="max_length", return_tensors="pt")
        found = tower(given.input_ids, output_hidden_states=True)
        states = found.hidden_states[-2][0] if xl else found.last_hidden_state[0]
        active = given.attention_mask[0].bool()
        short = tokenizer(prompt, return_tensors="pt").input_ids
        without = short.repeat(short.shape[1] - 2, 1)
        without[torch.arange(len(without)), torch.arange(len(without)) + 1] = 0
        pooled = tower(without)[at_end].T
    away, inside = (each @ torch.linalg.pinv(each.T @ each) @ each.T for each in (said, pooled))
    away = torch.eye(len(away), dtype=away.dtype) - away
    distances = torch.linalg.norm(away @ pooled, dim=0)
    near = [i for i in range(len(distances)) if distances[i] >= 1.01 * torch.cat([distances[:i], distances[i + 1 :]]).mean()]
    moved = (away @ inside @ states.T).T
    expected, places = states.clone(), torch.tensor(near, dtype=torch.long) + 1
    expected[places] = moved[places]
    b = 1 - torch.nn.functional.cosine_similarity(moved[active], states[active]).mean()
    return expected.numpy(), places.tolist(), float(b), round(10 * float(torch.sigmoid(5 * (10 * b - 5.333))))


@pytest.mark.parametrize("kind", ["shipped", "random", "XL"])
def test_filtered_prompts_are_those_of_transformers(towers, tokenizer, kind):
    conditions, tower = towers[kind]
    found = safree.filter_prompts(conditions, PROMPTS, CONCEPTS)
    masked, plain = 0, conditions.encode_prompts(PROMPTS)["text"]
    for row, prompt in enumerate(PROMPTS):
        expected, places, b, last = theirs(tower, tokenizer, prompt)
        assert np.flatnonzero(found.masked[row]).tolist() == places
        width = expected.shape[1]
        assert np.linalg.norm(found.text[row, :, -width:] - expected) < TOLERANCE * np.linalg.norm(expected)
        np.testing.assert_array_equal(found.text[row, :, :-width], plain[row, :, :-width])
        assert found.moved[row] == pytest.approx(b if places else 0.0, abs=TOLERANCE)
        assert found.last[row] == (last if places else -1)
        masked += len(places)
    assert masked > 3
