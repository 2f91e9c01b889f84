"""LoRA are merged as W + s alpha / r B A, whatever their file calls the modules, and other files are refused by name."""

import json

import numpy as np
import pytest
import safetensors.numpy

from jaxdiff import interop
from jaxdiff.errors import InputError
from jaxdiff.interop import lora
from tests import small_pipeline

RANK, ALPHA = 3, 6.0
UNET = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
TEXT = "encoder.layers.0.self_attn.q_proj"
SHAPES = {
    "unet": {
        f"{UNET}.to_q.weight": (6, 4), f"{UNET}.to_out.0.weight": (4, 6), "down_blocks.0.resnets.0.conv1.weight": (5, 4, 3, 3),
        "down_blocks.0.attentions.0.proj_in.weight": (6, 6, 1, 1), "conv_in.bias": (4,),
    },
    "text_encoder": {f"{TEXT}.weight": (4, 4)},
    "text_encoder_2": {f"{TEXT}.weight": (7, 7)},
}  # fmt: skip
ORIGINAL = {f"{UNET}.to_q.weight": "input_blocks.1.1.transformer_blocks.0.attn1.to_q.weight"}
"""As `original_layout.unet_names` gives them."""
RNG = np.random.default_rng(0)
STATES = {part: {name: RNG.standard_normal(shape, np.float32) for name, shape in held.items()} for part, held in SHAPES.items()}
Q, OUT, CONV, PROJ = [("unet", name) for name in SHAPES["unet"] if not name.endswith("bias")]
FIRST, SECOND = ("text_encoder", f"{TEXT}.weight"), ("text_encoder_2", f"{TEXT}.weight")


def factors(place: tuple[str, str], *, pointwise: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """A and B for a weight; of a 1x1 convolution as such, or as of a dense layer."""
    shape = SHAPES[place[0]][place[1]]
    shape = shape[:2] if shape[2:] == (1, 1) and not pointwise else shape
    down = RNG.standard_normal((RANK, *shape[1:])).astype(np.float32)
    up = RNG.standard_normal((shape[0], RANK, *(1,) * (len(shape) - 2))).astype(np.float32)
    return down, up


def merged(held, metadata=None, weight: float = 1.0, states=STATES):
    return lora.merged(states, held, metadata or {}, weight=weight, name="x.safetensors", original=ORIGINAL)


def changes(found, expected) -> None:
    """Whether these weights were changed by these arrays, and no others."""
    for part, held in STATES.items():
        for name, before in held.items():
            if (part, name) in expected:
                np.testing.assert_allclose(found[part][name] - before, expected[part, name], atol=2e-6)
                assert np.abs(expected[part, name]).max() > 0.1 and found[part][name].dtype == np.float32
            else:
                assert found[part][name] is before


def product(down, up, scale: float = 1.0) -> np.ndarray:
    """B A, each output by itself."""
    return scale * np.einsum("or,r...->o...", up.reshape(len(up), RANK), down)


KOHYA = {
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q": Q,
    "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q": Q,
    "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_out_0": OUT,
    "lora_unet_down_blocks_0_resnets_0_conv1": CONV,
    "lora_unet_down_blocks_0_attentions_0_proj_in": PROJ,
    "lora_te_text_model_encoder_layers_0_self_attn_q_proj": FIRST,
    "lora_te1_text_model_encoder_layers_0_self_attn_q_proj": FIRST,
    "lora_te2_text_model_encoder_layers_0_self_attn_q_proj": SECOND,
}


@pytest.mark.parametrize("alpha", [None, ALPHA])
@pytest.mark.parametrize("module", KOHYA)
def test_the_form_of_kohya(module, alpha):
    down, up = factors(KOHYA[module], pointwise=True)
    held = {f"{module}.lora_down.weight": down, f"{module}.lora_up.weight": up}
    held |= {} if alpha is None else {f"{module}.alpha": np.array(alpha, np.float32)}
    scale = 1.0 if alpha is None else alpha / RANK
    changes(merged(held), {KOHYA[module]: product(down, up, scale)})
    changes(merged(held, weight=-0.3), {KOHYA[module]: product(down, up, -0.3 * scale)})


PEFT = ("lora_A.weight", "lora_B.weight")
LAYERS = ("lora.down.weight", "lora.up.weight")
DIFFUSERS = {
    f"unet.{UNET}.to_q": (PEFT, Q),
    f"unet.{UNET}.to_out.0": (PEFT, OUT),
    f"{UNET}.to_q": (PEFT, Q),
    f"unet.{UNET}.to_q ": (LAYERS, Q),
    f"unet.{UNET}.to_out": (LAYERS, OUT),
    f"unet.{UNET}.processor.to_q": (("_lora.down.weight", "_lora.up.weight"), Q),
    f"{UNET}.processor.to_out": (("_lora.down.weight", "_lora.up.weight"), OUT),
    "unet.down_blocks.0.resnets.0.conv1": (PEFT, CONV),
    "unet.down_blocks.0.attentions.0.proj_in": (PEFT, PROJ),
    f"text_encoder.text_model.{TEXT}": (("lora_linear_layer.down.weight", "lora_linear_layer.up.weight"), FIRST),
    f"text_encoder.{TEXT}": (PEFT, FIRST),
    f"text_encoder_2.text_model.{TEXT}": (PEFT, SECOND),
    "text_encoder.text_model.encoder.layers.0.self_attn.to_q": (("_lora.down.weight", "_lora.up.weight"), FIRST),
}


def in_diffusers(module: str, pointwise: bool = False):
    """The arrays of a module, and its place, A and B."""
    endings, place = DIFFUSERS[module]
    down, up = factors(place, pointwise=pointwise)
    joint = "" if endings[0].startswith("_") else "."
    return {module.strip() + joint + endings[0]: down, module.strip() + joint + endings[1]: up}, place, down, up


@pytest.mark.parametrize("module", DIFFUSERS)
def test_the_forms_of_diffusers(module):
    held, place, down, up = in_diffusers(module)
    # of a dense layer for a 1x1 convolution, too
    shaped = lambda array: array.reshape(STATES[place[0]][place[1]].shape)  # noqa: E731
    changes(merged(held), {place: shaped(product(down, up))})
    settings = {f"{place[0]}.lora_alpha": ALPHA, f"{place[0]}.r": RANK, "text_encoder_3.lora_alpha": 100}
    metadata = {lora.METADATA: json.dumps(settings)}
    changes(merged(held, metadata), {place: shaped(product(down, up, ALPHA / RANK))})
    name = place[1].removesuffix(".weight")
    for pattern in (name, f"^{name}", name.split(".", 1)[1]):
        metadata = {lora.METADATA: json.dumps({**settings, f"{place[0]}.alpha_pattern": {pattern: 1.5, "x": 9}})}
        changes(merged(held, metadata), {place: shaped(product(down, up, 1.5 / RANK))})


def test_a_dense_weight_takes_the_factors_of_a_convolution():
    """Stable Diffusion 1 with dense layers before its transformers."""
    down, up = factors(PROJ, pointwise=True)
    states = {"unet": {PROJ[1]: STATES["unet"][PROJ[1]][:, :, 0, 0]}}
    module = PROJ[1].removesuffix(".weight")
    found = merged({f"unet.{module}.{PEFT[0]}": down, f"unet.{module}.{PEFT[1]}": up}, states=states)
    np.testing.assert_allclose(found["unet"][PROJ[1]], states["unet"][PROJ[1]] + product(down, up)[:, :, 0, 0], atol=2e-6)


def test_several_are_merged_in_a_row():
    first, place, *one = in_diffusers(f"unet.{UNET}.to_q")
    second, _, *other = in_diffusers(f"unet.{UNET}.to_q")
    found = merged(second, weight=2.0, states=merged(first, weight=0.5))
    changes(found, {place: product(*one, 0.5) + product(*other, 2.0)})


def test_half_precision_is_merged_in_float32():
    down, up = factors(Q)
    halves = {f"{UNET}.to_q.{end}": array.astype(np.float16) for end, array in zip(PEFT, (down, up), strict=True)}
    states = {part: {name: array.astype(np.float16) for name, array in held.items()} for part, held in STATES.items()}
    found = merged(halves, states=states)["unet"][Q[1]]
    expected = states["unet"][Q[1]].astype(np.float64) + product(*(array.astype(np.float64) for array in halves.values()))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)


A, B = np.ones((RANK, 4), np.float32), np.ones((6, RANK), np.float32)
PAIR = {f"{UNET}.to_q.lora_A.weight": A, f"{UNET}.to_q.lora_B.weight": B}
WRONG = {
    "of another architecture": (
        {**PAIR, "unet.down_blocks.7.x.lora_A.weight": A, "unet.down_blocks.7.x.lora_B.weight": B},
        r"x.safetensors is a LoRA of another architecture, or no LoRA: it has 2 arrays for which the pipeline has no weight: "
        r"unet.down_blocks.7.x.lora_A.weight, unet.down_blocks.7.x.lora_B.weight",
    ),
    "of another width": (
        {**PAIR, f"{UNET}.to_out.0.lora_A.weight": A, f"{UNET}.to_out.0.lora_B.weight": B},
        r"x.safetensors is a LoRA of another architecture; 1 weights have another shape: .*to_out.0.weight \(4, 6\), "
        r"factors \(6, 3\) and \(3, 4\)",
    ),
    "ranks that differ": ({**PAIR, f"{UNET}.to_q.lora_B.weight": B[:, :2]}, r"factors \(6, 2\) and \(3, 4\)"),
    "no rank": ({f"{UNET}.to_q.lora_A.weight": A[:0], f"{UNET}.to_q.lora_B.weight": B[:, :0]}, r"factors \(6, 0\)"),
    "one axis": ({**PAIR, f"{UNET}.to_q.lora_A.weight": A[0]}, r"factors \(6, 3\) and \(4,\)"),
    "several alphas": ({**PAIR, f"{UNET}.to_q.alpha": A}, r"1 weights have another shape"),
    "one factor": ({f"{UNET}.to_q.lora_A.weight": A}, r"lacks one of the two factors of 1 weights: .*to_q.weight"),
    "nothing": ({}, "lacks any factors"),
    "LoHa": ({"lora_unet_x.hada_w1_a": A}, r"is a LoHa \(lora_unet_x.hada_w1_a\); jaxdiff merges LoRA alone"),
    "LoKr": ({"lora_unet_x.lokr_w1": A}, "is a LoKr"),
    "LoKr of factors": ({"lora_unet_x.lokr_w2_b": A}, "is a LoKr"),
    "DoRA": ({**PAIR, f"{UNET}.to_q.dora_scale": A}, "is a DoRA"),
    "DoRA of PEFT": ({**PAIR, f"{UNET}.to_q.lora_magnitude_vector": A}, "is a DoRA"),
    "Tucker": ({"lora_unet_x.lora_mid.weight": A}, "is a LoCon with a third factor"),
    "differences": ({"lora_unet_x.diff": A}, "is a difference of whole weights"),
    "a UNet": ({f"model.diffusion_model.{UNET}.to_q.weight": A}, "or no LoRA: it has 1 arrays"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_lora_of_the_pipeline_is_refused_by_name(name):
    held, message = WRONG[name]
    with pytest.raises(InputError, match=message):
        merged(held)


@pytest.mark.parametrize("setting", ["use_rslora", "use_dora", "fan_in_fan_out"])
def test_settings_that_change_the_product_are_refused(setting):
    with pytest.raises(InputError, match=f"settings in its header that jaxdiff does not merge: unet.{setting}"):
        merged(PAIR, {lora.METADATA: json.dumps({f"unet.{setting}": True})})
    merged(PAIR, {lora.METADATA: json.dumps({f"unet.{setting}": False})})


def test_patterns_that_are_no_names_are_refused():
    metadata = {lora.METADATA: json.dumps({"unet.alpha_pattern": {"(to_q|to_k)": 3}})}
    with pytest.raises(InputError, match="alpha_pattern of a LoRA must have names of modules, got .*to_q|to_k"):
        merged(PAIR, metadata)
    # of a whole name, not of its end
    metadata = {lora.METADATA: json.dumps({"unet.alpha_pattern": {"^to_q": 30, "q": 30}})}
    changes(merged(PAIR, metadata), {Q: product(A, B)})


def test_a_pipeline_is_loaded_with_lora(tmp_path):
    """Of two files with their weights, in both networks; the file of a UNet alone has no prefix."""
    folder, rng = small_pipeline.folder(tmp_path / "sd"), np.random.default_rng(1)
    own = small_pipeline.parts(small_pipeline.model())
    query = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("A", (2, 8)), ("B", (8, 2)))}
    text = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in (("A", (2, 8)), ("B", (8, 2)))}
    module, layer = UNET.replace("attn1", "attn1.to_q"), f"text_encoder.text_model.{TEXT}"
    safetensors.numpy.save_file(
        {f"{module}.lora_{name}.weight": array for name, array in query.items()}, tmp_path / "a.safetensors"
    )
    safetensors.numpy.save_file(
        {f"{layer}.lora_{name}.weight": array for name, array in text.items()}, tmp_path / "b.safetensors"
    )
    loras = [(tmp_path / "a.safetensors", 0.5), (tmp_path / "b.safetensors", -2.0)]
    read = interop.load_text_to_image(folder, loras=loras)
    assert read.training["loras"] == [["a.safetensors", 0.5], ["b.safetensors", -2.0]]
    kernel, found = f"{module.replace('.', '/')}/kernel", small_pipeline.parts(read)
    change = 0.5 * (query["B"] @ query["A"]).T
    np.testing.assert_allclose(found["unet"][kernel] - own["unet"][kernel], change, atol=2e-6)
    kernel = f"{TEXT.replace('.', '/')}/kernel"
    np.testing.assert_allclose(found["text 0"][kernel] - own["text 0"][kernel], -2 * (text["B"] @ text["A"]).T, atol=2e-6)
    assert sum(not np.array_equal(found[part][path], array) for part in own for path, array in own[part].items()) == 2
