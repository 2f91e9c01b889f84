"""Our text encoder compared with transformers' CLIPTextModel and CLIPTextModelWithProjection with the same weights.

Every weight is drawn at random, so that none of either is zero. Each single mistake that a text encoder of Stable Diffusion is
known to invite must be far outside the tolerance.
"""

import dataclasses
import json
import warnings
from functools import partial

import jax
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")

from jaxdiff.interop import text_encoder_config, torch_names
from jaxdiff.models.network import Network, abstract, text_encoder
from jaxdiff.models.text_encoder import ACTIVATIONS, TextEncoderConfig, TextOutput

TOLERANCE = 2e-6
VOCABULARY, LENGTH = 90, 77
BEGIN, END = VOCABULARY - 2, VOCABULARY - 1
SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "max_position_embeddings": LENGTH, "bos_token_id": BEGIN, "eos_token_id": END, "pad_token_id": END, "projection_dim": 24,
}  # fmt: skip
KINDS = {
    "SD 1": ("CLIPTextModel", {"hidden_act": "quick_gelu"}),
    "SD 2": ("CLIPTextModel", {"hidden_act": "gelu", "pad_token_id": 0}),
    "XL's second": ("CLIPTextModelWithProjection", {"hidden_act": "gelu", "layer_norm_eps": 1e-4, "num_attention_heads": 2}),
    "tokens added": ("CLIPTextModel", {"vocab_size": VOCABULARY + 3}),
}


class Pair:
    """A text encoder in transformers and ours with its weights, and tokens of four prompts, one of them empty."""

    def __init__(self, kind: str):
        name, settings = KINDS[kind]
        rng, config = np.random.default_rng(1), transformers.CLIPTextConfig(**{**SMALL, **settings})
        self.theirs = getattr(transformers, name)(config).eval()
        state = {
            name: torch.from_numpy(drawn(name, tuple(weight.shape), rng)) for name, weight in self.theirs.state_dict().items()
        }
        self.theirs.load_state_dict(state)
        self.settings = {**config.to_dict(), "architectures": [name]}
        self.config = text_encoder_config.read(self.settings)
        self.state = {name.removeprefix("text_model."): weight.numpy() for name, weight in state.items()}
        self.ids = np.full((4, LENGTH), config.pad_token_id, np.int32)
        self.ends = np.array([1, 12, 30, LENGTH - 1], np.int32)
        for row, end in enumerate(self.ends):
            last = VOCABULARY + 3 if kind == "tokens added" and row == 2 else BEGIN
            self.ids[row, : end + 1] = [BEGIN, *rng.integers(1, BEGIN, end - 1), END]
            self.ids[row, 5] = last - 1 if row == 2 else self.ids[row, 5]

    def run(self, *, ids=None, ends=None, **how) -> TextOutput:
        ids, ends = (self.ids if ids is None else ids), (self.ends if ends is None else ends)
        # compiled anew, since tests replace functions that it calls
        return jax.jit(lambda network, *tokens: network(*tokens, **how))(filled(self.config, self.state), ids, ends)

    def expected(self, **more):
        with torch.no_grad():
            given = {name: torch.from_numpy(np.asarray(value)) for name, value in more.items()}
            return self.theirs(torch.from_numpy(self.ids).long(), output_hidden_states=True, **given)

    def normalised(self, state) -> np.ndarray:
        inner = getattr(self.theirs, "text_model", self.theirs)
        with torch.no_grad():
            return inner.final_layer_norm(state).numpy()


def drawn(name: str, shape: tuple[int, ...], rng) -> np.ndarray:
    """A weight: kernels so that states keep their size, scales around 1, and embeddings small, as trained ones are: the epsilon
    of the norms then matters."""
    normal = rng.standard_normal(shape)
    if len(shape) == 1:
        return (name.endswith("weight") + 0.1 * normal).astype(np.float32)
    return (0.1 * normal if "embedding" in name else normal / np.sqrt(shape[1])).astype(np.float32)


def filled(config: TextEncoderConfig, state: dict[str, np.ndarray]) -> Network:
    """Our network with the weights of a state dictionary."""
    return torch_names.from_torch(abstract(text_encoder, config), state)


def relative(ours, expected) -> float:
    """The size of the difference beside that of what is expected."""
    expected = np.asarray(expected)
    assert np.std(expected) > 0.1
    return float(np.linalg.norm(np.asarray(ours) - expected) / np.linalg.norm(expected))


@pytest.fixture(scope="module")
def pairs() -> dict[str, Pair]:
    return {kind: Pair(kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_and_pooled_states_are_those_of_transformers(kind, pairs):
    pair = pairs[kind]
    ours, theirs = pair.run(), pair.expected()
    assert relative(ours.hidden, theirs.last_hidden_state) < TOLERANCE
    pooled = theirs.text_embeds if "XL" in kind else theirs.pooler_output
    assert ours.pooled.shape == pooled.shape and relative(ours.pooled, pooled) < TOLERANCE


@pytest.mark.parametrize("kind", ["SD 1", "XL's second"])
def test_every_hidden_state_with_and_without_the_final_norm(kind, pairs):
    pair = pairs[kind]
    states = pair.expected().hidden_states
    assert len(states) == pair.config.layers + 1
    for skip in range(len(states)):
        assert relative(pair.run(skip=skip, normalised=False).hidden, states[-1 - skip]) < TOLERANCE
        assert relative(pair.run(skip=skip).hidden, pair.normalised(states[-1 - skip])) < TOLERANCE


def test_the_settings_written_make_the_same_model(pairs):
    for kind, pair in pairs.items():
        written = text_encoder_config.written(pair.config, begin=BEGIN, end=END, pad=pair.settings["pad_token_id"])
        config = transformers.CLIPTextConfig(**written)
        again = getattr(transformers, KINDS[kind][0])(config).eval()
        again.load_state_dict(pair.theirs.state_dict())
        with torch.no_grad():
            for theirs in (pair.expected().last_hidden_state, again(torch.from_numpy(pair.ids).long()).last_hidden_state):
                assert relative(pair.run().hidden, theirs) < TOLERANCE
        assert text_encoder_config.read(json.loads(json.dumps(written))) == pair.config
        back = torch_names.to_torch(filled(pair.config, pair.state))
        assert back.keys() == pair.state.keys() and all((back[name] == pair.state[name]).all() for name in back)


def attention(change):
    """`jax.nn.dot_product_attention` with other arguments."""
    plain = jax.nn.dot_product_attention
    return lambda *parts, **how: plain(*parts, **{**how, **change()})


def after_the_end(pair: Pair) -> dict:
    seen = np.arange(LENGTH)[None, None, None] <= pair.ends[:, None, None, None]
    return {"mask": seen}


MISTAKES = {
    "padding is masked": ("SD 1", lambda pair: {"attention": lambda: after_the_end(pair)}),
    "no causal mask": ("SD 1", lambda pair: {"attention": lambda: {"is_causal": False}}),
    "a scale of 1": ("SD 1", lambda pair: {"attention": lambda: {"scale": 1.0}}),
    "gelu for quick_gelu": ("SD 1", lambda pair: {"config": {"activation": "gelu"}}),
    "quick_gelu for gelu": ("SD 2", lambda pair: {"config": {"activation": "quick_gelu"}}),
    "gelu by tanh": ("SD 2", lambda pair: {"activation": partial(jax.nn.gelu, approximate=True)}),
    "an epsilon of 1e-6": ("SD 1", lambda pair: {"config": {"epsilon": 1e-6}}),
    "two heads": ("SD 1", lambda pair: {"config": {"heads": 2}}),
    "no final norm": ("SD 1", lambda pair: {"how": {"normalised": False}}),
    "a layer left out": ("SD 1", lambda pair: {"how": {"skip": 1}}),
    "padded with the end token": ("SD 2", lambda pair: {"how": {"ids": np.where(pair.ids == 0, END, pair.ids)}}),
    "padded with !": ("SD 1", lambda pair: {"how": {"ids": padded_with_zero(pair)}}),
    "pooled at the largest token": ("tokens added", lambda pair: {"how": {"ends": pair.ids.argmax(1).astype(np.int32)}}),
    "pooled at the last token": ("SD 1", lambda pair: {"how": {"ends": np.full(4, LENGTH - 1, np.int32)}}),
}


def padded_with_zero(pair: Pair) -> np.ndarray:
    return np.where(np.arange(LENGTH) > pair.ends[:, None], 0, pair.ids).astype(np.int32)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_single_mistake_is_found(mistake, pairs, monkeypatch):
    kind, made = MISTAKES[mistake]
    pair, change = pairs[kind], made(pairs[kind])
    if "attention" in change:
        monkeypatch.setattr(jax.nn, "dot_product_attention", attention(change["attention"]))
    if "activation" in change:
        monkeypatch.setitem(ACTIVATIONS, pair.config.activation, change["activation"])
    if "config" in change:
        monkeypatch.setattr(pair, "config", dataclasses.replace(pair.config, **change["config"]))
    ours, theirs = pair.run(**change.get("how", {})), pair.expected()
    pooled = theirs.text_embeds if "XL" in kind else theirs.pooler_output
    errors = relative(ours.hidden, theirs.last_hidden_state), relative(ours.pooled, pooled)
    assert max(errors) > 5 * TOLERANCE
