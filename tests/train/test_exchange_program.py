"""`jaxdiff train export` and `import`: the run is the same afterwards, and what is missing is an error of one line."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxdiff
from jaxdiff import model as models
from jaxdiff.data import Attribute
from jaxdiff.interop import unet2d
from jaxdiff.models.config import UNetConfig
from jaxdiff.models.network import Network, unet
from jaxdiff.process import ddpm
from tests.interop.test_torch_file import saved
from train.__main__ import main

CONFIG = UNetConfig(
    size=4, base=32, multipliers=(1,), blocks=1, attention=(), head_channels=32, dropout=0.0, values=(2,), dtype="bfloat16"
)


@pytest.fixture(scope="module")
def trained() -> models.Model:
    """A model with every weight drawn."""
    rng, abstract = np.random.default_rng(1), jax.eval_shape(partial(unet, CONFIG), jax.random.key(0))
    weights = jax.tree.map(lambda leaf: jnp.asarray(rng.standard_normal(leaf.shape), jnp.float32), abstract.weights)
    hair = Attribute("hair", ("dark", "fair"))
    return models.image_model(CONFIG, Network(weights, abstract.structure), ddpm("linear"), "eps", (hair,), {"step": 3})


@pytest.fixture
def call(call_program, trained, tmp_path):
    """Calls the program beside a run."""
    models.save(tmp_path / "run", trained)
    return partial(call_program, main, "train")


def test_out_and_in_again_is_the_same_run(call, tmp_path, capsys):
    assert call("export", "--model", "run", "--out", "exported") == 0
    assert "as a UNet2DModel in exported" in " ".join(capsys.readouterr().out.split())
    assert json.loads((tmp_path / "exported" / "unet" / "config.json").read_text())["num_class_embeds"] == 3
    assert call("import", "exported", "--out", "again") == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "4x4 RGB images, hair (2 values), ddpm_linear and eps, in again" in output
    one, other = (jaxdiff.load(tmp_path / name) for name in ("run", "again"))
    assert one.fingerprint == other.fingerprint and one.config == other.config
    assert call("import", "exported", "--out", "wide", "--dtype", "float32") == 0
    assert jaxdiff.load(tmp_path / "wide").config.dtype == "float32"


def test_the_labels_are_named_on_the_way_in(call, tmp_path):
    assert call("export", "--model", "run", "--out", "exported") == 0
    arguments = ("--value-names", "gender=male,female", "--null-label", "--process", "vp_cosine", "--prediction", "v")
    assert call("import", "exported", "--out", "again", *arguments) == 0
    model = jaxdiff.load(tmp_path / "again")
    assert model.conditions.attributes == (Attribute("gender", ("male", "female")),) and model.config.null_label
    assert (model.process.name, model.prediction) == ("vp_cosine", "v")


def test_weights_of_guided_diffusion_are_read_with_what_is_said(call, trained, tmp_path, capsys):
    """Of one level without attention their names are these."""
    _, state = unet2d.exported(trained.config, trained.network)
    paths = {
        "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "class_embedding": "label_emb", "down_blocks.0.resnets.0": "input_blocks.1.0", "mid_block.resnets.0": "middle_block.0",
        "mid_block.resnets.1": "middle_block.2", "up_blocks.0.resnets.0": "output_blocks.0.0",
        "up_blocks.0.resnets.1": "output_blocks.1.0", "conv_norm_out": "out.0", "conv_out": "out.2",
        "mid_block.attentions.0.group_norm": "middle_block.1.norm",
        "mid_block.attentions.0.to_out.0": "middle_block.1.proj_out",
    }  # fmt: skip
    layers = {
        "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
        "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
    }  # fmt: skip
    renamed, projections = {}, {"weight": [], "bias": []}
    for name, array in state.items():
        path, _, last = name.rpartition(".")
        block, _, layer = path.rpartition(".")
        if layer in ("to_q", "to_k", "to_v"):
            projections[last].append(array[..., None] if last == "weight" else array)
        else:
            where = paths[path] if path in paths else f"{paths[block]}.{layers[layer]}"
            renamed[f"{where}.{last}"] = array[..., None] if path.endswith("to_out.0") and last == "weight" else array
    renamed |= {f"middle_block.1.qkv.{last}": np.concatenate(three) for last, three in projections.items()}
    saved(tmp_path / "model.pt", renamed)
    assert call("import", "model.pt", "--out", "read") == 2
    assert "model.pt contains only weights: give --size and --process" in " ".join(capsys.readouterr().err.split())
    arguments = ("--size", "4", "--process", "ddpm_linear", "--timesteps", "500", "--head-channels", "32", "--null-label")
    assert call("import", "model.pt", "--out", "read", *arguments) == 0
    model = jaxdiff.load(tmp_path / "read")
    assert (model.process.timesteps, model.config.timesteps, model.config.values) == (500, 500, (2,))
    own, read = (models.weight_file.named(each.network.weights) for each in (trained, model))
    assert [name for name in own if not np.array_equal(own[name], read[name])] == ["time_in/kernel"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("import", "absent", "--out", "new"), "absent does not exist"),
        (("import", "run", "--out", "new", "--prediction", "v"), "is a model of jaxdiff, which stores --prediction itself"),
        (("import", "run", "--out", "run"), "--out run already exists and is not empty"),
        (("import", "run", "--out", "new", "--value-names", "a=b,c", "d=e,f"), "--value-names takes one attribute"),
        (("import", "run", "--out", "new", "--value-names", "a=1:b,2:c"), "without codes, got a"),
        (("import", "run", "--out", "new", "--timesteps", "7"), "--timesteps is for --process ddpm_*, got --process None"),
        (("export", "--model", "run", "--out", "run"), "run already exists and is not empty"),
        (("export", "--model", "absent", "--out", "new"), "no model at absent"),
    ],
)
def test_what_cannot_be_done_is_an_error_of_one_line(arguments, message, call, tmp_path, capsys):
    before = sorted(path.name for path in tmp_path.rglob("*"))
    assert call(*arguments) == 2
    captured = " ".join(capsys.readouterr().err.split())
    assert captured.startswith(("error: ", "importing: ", "exporting: ")) and message in captured
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["export", "import"])
def test_help_teaches_by_examples(command, call, capsys):
    assert call(command, "--help") == 0
    assert f"jaxdiff train {command}" in capsys.readouterr().out.split("Examples:")[1]
