"""SAFREE's filter against the same steps with transformers' text encoder and tokenizer, in float64."""

import os
import warnings

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


@pytest.fixture(scope="module")
def tokenizer():
    return transformers.CLIPTokenizer.from_pretrained(shipped.place(shipped.TEXT) / "tokenizer")


@pytest.fixture(scope="module")
def towers(tokenizer):
    """Of the shipped pipeline, and one with random weights: ours and theirs."""
    model = jd.load(shipped.TEXT)
    (own,) = model.conditions.encoders
    pretrained = transformers.CLIPTextModel.from_pretrained(shipped.place(shipped.TEXT) / "text_encoder")
    rng = np.random.default_rng(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    random = transformers.CLIPTextModel(config).eval()
    state = {name: drawn(name, tuple(weight.shape), rng) for name, weight in random.state_dict().items()}
    random.load_state_dict({name: torch.from_numpy(weight) for name, weight in state.items()})
    ours = text_encoder_config.read({**config.to_dict(), "architectures": ["CLIPTextModel"]})
    network = filled(ours, {name.removeprefix("text_model."): weight for name, weight in state.items()})
    return {
        "shipped": (model.conditions, pretrained.double().eval()),
        "random": (Prompts((PromptEncoder(own.tokenizer, ours, network),)), random.double()),
    }


def theirs(tower, tokenizer, prompt: str):
    """The filtered states, masked positions, b and t' of one prompt."""
    with torch.no_grad():
        said = tower(**tokenizer(CONCEPTS, padding="max_length", return_tensors="pt")).pooler_output.T
        given = tokenizer(prompt, padding="max_length", return_tensors="pt")
        states = tower(given.input_ids).last_hidden_state[0]
        active = given.attention_mask[0].bool()
        short = tokenizer(prompt, return_tensors="pt").input_ids
        without = short.repeat(short.shape[1] - 2, 1)
        without[torch.arange(len(without)), torch.arange(len(without)) + 1] = 0
        pooled = tower(without).pooler_output.T
    away, inside = (each @ torch.linalg.pinv(each.T @ each) @ each.T for each in (said, pooled))
    away = torch.eye(len(away), dtype=away.dtype) - away
    distances = torch.linalg.norm(away @ pooled, dim=0)
    near = [i for i in range(len(distances)) if distances[i] >= 1.01 * torch.cat([distances[:i], distances[i + 1 :]]).mean()]
    moved = (away @ inside @ states.T).T
    expected, places = states.clone(), torch.tensor(near, dtype=torch.long) + 1
    expected[places] = moved[places]
    b = 1 - torch.nn.functional.cosine_similarity(moved[active], states[active]).mean()
    return expected.numpy(), places.tolist(), float(b), round(10 * float(torch.sigmoid(5 * (10 * b - 5.333))))


@pytest.mark.parametrize("kind", ["shipped", "random"])
def test_filtered_prompts_are_those_of_transformers(towers, tokenizer, kind):
    conditions, tower = towers[kind]
    found = safree.filter_prompts(conditions, PROMPTS, CONCEPTS)
    masked = 0
    for row, prompt in enumerate(PROMPTS):
        expected, places, b, last = theirs(tower, tokenizer, prompt)
        assert np.flatnonzero(found.masked[row]).tolist() == places
        assert np.linalg.norm(found.text[row] - expected) < TOLERANCE * np.linalg.norm(expected)
        assert found.moved[row] == pytest.approx(b if places else 0.0, abs=TOLERANCE)
        assert found.last[row] == (last if places else -1)
        masked += len(places)
    assert masked > 3
