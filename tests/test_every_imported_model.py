"""Every command on every kind of imported model: it works, or says in one line why not, and never with a traceback.

The kinds are those that differ for a command: models without classes, with classes, and with a null label beside them, of grey,
colour and transparent images. Each command runs on every kind of labels and on every number of channels, though not on every
pair of the two, which takes a minute of processor time more; what is refused is refused for every pair. `make test` runs some
of each program, on one kind of labels; what a method or a modifier draws does not depend on where the weights are from.
"""

import json
import re
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from PIL import Image

import evaluate.__main__
import sample.__main__
import sample.objective
import sample.search
import train.__main__
from jaxdiff import model as models
from jaxdiff._console.terminal import run
from jaxdiff.data import Attribute
from jaxdiff.fairness.tradeoff import TradeOff
from jaxdiff.image_classifier import ClassifierTraining, train_once
from jaxdiff.interop import unet2d
from jaxdiff.models.config import UNetConfig
from jaxdiff.sampleset import SampleSet
from sample.command_line import GUARDS, entries_of
from sample.methods import METHODS
from sample.modifiers import MODIFIERS
from sample.options import Draw
from tests.interop.folders import model_of
from tests.sample.modifying import written_classifier

MAINS = {"train": train.__main__.main, "sample": sample.__main__.main, "evaluate": evaluate.__main__.main}
LABELS = {"without classes": 0, "with classes": 2, "with a null label": 3}
CHANNELS = (3, 1, 4)
KINDS = [(labels, channels) for labels in LABELS for channels in CHANNELS]
SIZE, STEPS, COUNT = 8, 4, 4
LEAST = 16  # the least size of images that have features
FEW = ClassifierTraining(steps=1, batch=4, widths=(4,), flip=False)

DRAW = ("draw", "--model", "run", "--count", COUNT, "--steps", STEPS, "--solver", "ddim", "--batch-size", COUNT)
SEARCH = ("search", "--model", "run", "--steps", "3", "--batch", "2", "--solver", "ddim")
SWEEP = ("sweep", "--model", "run", "--steps", "3", "--solver", "ddim", "--tau", "0.3", "0.6", "--count", COUNT)
DATA = ("--model", "run", "--data", "data.npz", "--split", "all", "--count", "4", "--batch-size", "4", "--steps", "1")
METHOD_OPTIONS = {
    "switching": ("--tau", "0.5"),
    "spectral": ("--tau", "0.7", "0.3", "--edges", "2"),
    "inpainting": ("--region", "region.png"),
    "distribution": ("--joint-classifiers", "joint"),
}
UNSAFE, LABEL = ("--unsafe", "data.npz"), ("--unsafe-label", "group=round", "--strength", "0.5")
MODIFIER_OPTIONS = {
    "classifier_free": ("--guidance-scale", "2"),
    "interval": ("--guidance-scale", "2", "--guidance-interval", "0.01", "1"),
    "adaptive_projected": ("--guidance-scale", "2", "--adaptive-projected"),
    "safe_latent": ("--guidance-scale", "2", "--sld", "medium", "--unsafe-label", "group=round"),
    "safree": ("--safree", "--unsafe-concepts", "a beard"),
    "autoguidance": ("--guide", "run", "--guide-scale", "2"),
    "dynamic_thresholding": ("--dynamic-thresholding", "99"),
    "safe": UNSAFE,
    "repellency": ("--guard", "repellency", *UNSAFE, "--radius", "0.9"),
    "safety_flow": ("--guard", "safety_flow", *UNSAFE, "--strength", "90"),
    "negative": ("--guard", "negative", *LABEL),
    "dynamic_negative": ("--guard", "dynamic_negative", "--guard-weight", "constant", *LABEL),
}
COMMANDS: dict[str, tuple[str, tuple]] = {
    **{f"draw {name}": ("sample", (*DRAW, "--method", name, *METHOD_OPTIONS.get(name, ()))) for name in METHODS},
    **{f"draw under {name}": ("sample", (*DRAW, *given)) for name, given in MODIFIER_OPTIONS.items()},
    "draw png": ("sample", (*DRAW, "--format", "png")),
    "search": ("sample", (*SEARCH, "--reference", "data.npz")),
    "search whitened": ("sample", (*SEARCH, "--metric", "whitened", "--reference", "data.npz")),
    "search pixel": ("sample", (*SEARCH, "--metric", "pixel")),
    "search prefix": ("sample", (*SEARCH, "--mode", "prefix")),
    "search spectral": ("sample", (*SEARCH, "--mode", "spectral", "--metric", "pixel", "--edges", "2")),
    "search objective": (
        "sample", (*SEARCH[:-2], "--objective", "parity", "--count", "16", "--tau", "0.5", "--reference", "data.npz"),
    ),
    "search without data": ("sample", SEARCH),
    "search objective without data": ("sample", (*SEARCH[:-2], "--objective", "parity")),
    "sweep": ("sample", (*SWEEP, "--batches", "2", "--modes", "prefix/own/beta_eps/batch")),
    "sweep from no label": ("sample", (*SWEEP, "--start", "none")),
    "likelihood": ("evaluate", ("likelihood", *DATA)),
    "likelihood without labels": ("evaluate", ("likelihood", *DATA, "--condition", "null")),
    "memorization": (
        "evaluate",
        (
            "memorization", "--model", "run", "--samples", "data.npz", "--train", "data.npz", "--members", "100", "--draws",
            "1", "--neighbours", "2",
        ),
    ),
    "export": ("train", ("export", "--model", "run")),
}  # fmt: skip
SUFFIX = {"search": ".json", "likelihood": ".json"}
JOINT = Attribute("group+hair", ("square+long", "square+short", "round+long", "round+short"))
QUICK = {
    "draw vanilla", "draw switching", "draw fair_diffusion", "draw under classifier_free", "draw under safe",
    "draw under autoguidance", "draw png", "search", "search objective", "sweep", "likelihood", "memorization", "export",
}  # fmt: skip
"""The commands that work in `make test`: one of each program, and of each kind of method and modifier."""

# Why a command is refused, by the kind of labels; the others work.
UNCONDITIONAL = "is unconditional, and {} needs a model conditioned on labels"
NEEDS_LABELS = "{} needs a model conditioned on labels, and the model at run is unconditional"
NEEDS_NULL = "{} needs a model with a null label, and the model at run has none"
REFUSED = {
    "without classes": {
        **{f"draw {name}": UNCONDITIONAL.format(f"--method {name}") for name in METHODS if name != "vanilla"},
        **{name: UNCONDITIONAL.format("a search") for name in COMMANDS if name.startswith(("search", "sweep"))},
        "draw under classifier_free": NEEDS_LABELS.format("--guidance-scale"),
        "draw under interval": NEEDS_LABELS.format("--guidance-scale"),
        "draw under adaptive_projected": NEEDS_LABELS.format("--adaptive-projected"),
        "draw under safe_latent": NEEDS_LABELS.format("--sld"),
        "draw under negative": "unknown attribute 'group': the model is unconditional",
        "draw under dynamic_negative": "unknown attribute 'group': the model is unconditional",
    },
    "with classes": {
        **{
            f"draw {name}": NEEDS_NULL.format(f"--method {name}")
            for name in ("unconditional", "score_mixing", "fair_diffusion", "minimal", "projected", "inpainting")
        },
        "draw under classifier_free": NEEDS_NULL.format("--guidance-scale"),
        "draw under interval": NEEDS_NULL.format("--guidance-scale"),
        "draw under adaptive_projected": NEEDS_NULL.format("--adaptive-projected"),
        "draw under safe_latent": NEEDS_NULL.format("--sld"),
        "sweep from no label": NEEDS_NULL.format("--start none"),
        "likelihood without labels": "the model has no null label",
    },
    "with a null label": {},
}
for refused in REFUSED.values():
    refused |= {f"draw {name}": f"--method {name} needs --fair-table" for name in ("fair_instruction", "fair_projection")}
    refused["draw under safree"] = "--unsafe-concepts is for text-to-image models, and this model takes no prompts"
for refused in (REFUSED["with classes"], REFUSED["with a null label"]):
    refused["draw balanced"] = "--method balanced needs a model of other attributes than --attribute group"
    refused["search without data"] = "--metric feature needs real images, and the model does not record its training data"
    refused["search objective without data"] = "--objective needs real images, and the model does not record its training data"
REFUSED["with a null label"]["draw projected"] = "--method projected needs a model of other attributes than --attribute group"


def test_the_matrix_has_every_method_and_modifier():
    assert {f"draw {name}" for name in METHODS} | {f"draw under {name}" for name in MODIFIERS} <= COMMANDS.keys()
    assert entries_of(Draw).keys() == METHODS.keys() | MODIFIERS.keys() and GUARDS.keys() < MODIFIER_OPTIONS.keys()


def runs(command: str, labels: str, channels: int) -> bool:
    """Whether a command that works runs on this kind: once for each kind of labels, each time with other channels."""
    turn = list(COMMANDS).index(command) + list(LABELS).index(labels)
    return CHANNELS[turn % len(CHANNELS)] == channels


def foreign(folder: Path, classes: int, channels: int, size: int) -> Path:
    """A folder as diffusers writes it, of a tiny network with drawn weights."""
    config = UNetConfig(
        size=size, channels=channels, base=8, multipliers=(1,), blocks=1, attention=(), head_channels=8, dropout=0.0, groups=4,
        embedding="shift", middle_attention="none", time_offset=-1, values=(classes,) * bool(classes), null_label=not classes,
    )  # fmt: skip
    attributes = (Attribute("class", tuple(map(str, range(classes)))),) if classes else ()
    settings, state = unet2d.exported(config, model_of(config, attributes).network)
    for name, content in (("unet/config", settings), ("scheduler/scheduler_config", {"_class_name": "DDPMScheduler"})):
        (folder / name).parent.mkdir(parents=True)
        (folder / f"{name}.json").write_text(json.dumps(content))
    state = {name: np.float32(0.2) * array for name, array in state.items()}
    safetensors.numpy.save_file(state, folder / "unet" / "diffusion_pytorch_model.safetensors", metadata={"format": "pt"})
    return folder


@contextmanager
def program(folder: Path, name: str, arguments):
    """Runs a program in a folder; yields its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        try:
            run(MAINS[name])
            yield 0
        except SystemExit as exit:
            yield exit.code


@pytest.fixture(scope="module")
def kind(tmp_path_factory):
    """The folder of a kind, with the imported model in `run`, and data of its size and channels."""

    @cache
    def made(labels: str, channels: int, size: int = SIZE) -> Path:
        folder, rng = tmp_path_factory.mktemp("kind"), np.random.default_rng(0)
        foreign(folder / "theirs", LABELS[labels], channels, size)
        named = ("--value-names", "group=square,round") if LABELS[labels] else ()
        null = ("--null-label",) if labels == "with a null label" else ()
        with program(folder, "train", ("import", "theirs", "--out", "run", *named, *null)) as status:
            assert status == 0
        images = rng.integers(0, 256, (240, size, size, channels), np.uint8)
        texts = np.stack([np.tile(["square", "round"], 120), rng.permutation(np.tile(["long", "short"], 120))], 1)
        given = {"images": images, "labels": texts, "attributes": ["group", "hair"]}
        np.savez(folder / "data.npz", **given, split=np.repeat(["train", "test"], [130, 110]))
        Image.fromarray(np.eye(SIZE, dtype=np.uint8) * 255).save(folder / "region.png")
        written_classifier(folder / "joint", models.load(folder / "run").process, JOINT, channels, size)
        return folder

    return made


@pytest.fixture(autouse=True)
def quick_classifiers(monkeypatch, tmp_path_factory):
    """Attribute classifiers of one step, whose answers no test here looks at; and no cache of the user's."""
    few = lambda *given, **named: train_once(*given, **{**named, "training": FEW})  # noqa: E731
    monkeypatch.setattr(sample.search, "train_once", few)
    monkeypatch.setattr(sample.objective, "train_feature_classifiers", lambda *given, **named: ())
    monkeypatch.setattr(sample.objective, "measure_trade_off", lambda tau, *given, **named: TradeOff(tau, 0.9, 1.0, 1.0))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


def case(command: str, labels: str, channels: int):
    """A case; of the commands that work `make test` runs some, on one kind of labels each."""
    working = [each for each in LABELS if command not in REFUSED[each]]
    once = command in QUICK and labels == working[list(COMMANDS).index(command) % len(working)]
    quick = labels not in working or once
    return pytest.param(command, labels, channels, marks=[] if quick else pytest.mark.slow)


CASES = [case(name, *kind) for name in COMMANDS for kind in KINDS if name in REFUSED[kind[0]] or runs(name, *kind)]


@pytest.mark.parametrize(("command", "labels", "channels"), CASES)
def test_it_works_or_says_why_not(command, labels, channels, kind, capsys):
    folder = kind(labels, channels, LEAST if command == "search" else SIZE)
    name, arguments = COMMANDS[command]
    reason = REFUSED[labels].get(command)
    out = command.replace(" ", "-") + SUFFIX.get(arguments[0], "")
    with program(folder, name, (*arguments, "--out", out)) as status:
        captured = capsys.readouterr()
    if reason is not None:
        errors = " ".join(captured.err.split())
        assert status == 2 and re.search(rf"error: .*{re.escape(reason)}", errors), errors
        assert captured.err.count("error: ") == 1 and not (folder / out).exists()
        return
    assert status == 0, captured.err
    check(folder, folder / out, command, labels, channels)


def check(folder: Path, out: Path, command: str, labels: str, channels: int) -> None:
    """Whether what a command wrote is that of the model."""
    if command.startswith("draw"):
        samples = SampleSet.open(out)
        assert samples.image(COUNT - 1).shape == (SIZE, SIZE, channels) and (out / "preview.png").stat().st_size
        assert samples.labels.shape == (COUNT, 1 if LABELS[labels] else 0)
        assert np.ptp([samples.image(index) for index in range(COUNT)]) > 0
    elif command.startswith(("search", "likelihood")):
        report = json.loads(out.read_text())
        measured = report["images"] if command.startswith("likelihood") else report.get("tau", report.get("taus"))
        assert np.isfinite(measured).all()
    elif command.startswith("sweep"):
        assert {each.name for each in out.glob("tau-*")} == {"tau-0.300", "tau-0.600"}
    elif command == "memorization":
        assert np.isfinite(json.loads((out / "memorization.json").read_text())["membership"][0]["mean_loss"]).all()
    else:
        with program(folder, "train", ("import", out.name, "--out", "again")) as status:
            assert status == 0
        assert models.load(folder / "again").fingerprint == models.load(folder / "run").fingerprint


@pytest.mark.parametrize("order", [("round", "square"), ("square", "round")])
def test_the_values_of_reference_data_are_matched_by_name(order, kind, tmp_path, monkeypatch):
    """Text labels are numbered in the alphabet's order, the classes of a network as it was trained."""
    seen = {}

    def remembered(finished, key, images, ends, **given):
        seen["bright"] = images.mean((1, 2, 3))[ends == 0].mean() > images.mean((1, 2, 3))[ends == 1].mean()
        return train_once(finished, key, images, ends, **{**given, "training": FEW})

    monkeypatch.setattr(sample.search, "train_once", remembered)
    labels = np.tile(["square", "round"], 20)
    images = np.where(labels == "square", 200, 50)[:, None, None, None] * np.ones((1, LEAST, LEAST, 3))
    given = {"images": images.astype(np.uint8), "attributes": ["group"], "split": np.repeat("train", 40)}
    if order == ("square", "round"):
        named = ("--value-names", "group=square,round")
        np.savez(tmp_path / "data.npz", labels=np.tile([0, 1], 20), **given)
    else:
        named = ()
        np.savez(tmp_path / "data.npz", labels=labels, **given)
    folder, out = kind("with classes", 3, LEAST), tmp_path / "tau.json"
    arguments = (*SEARCH, "--reference", tmp_path / "data.npz", *named, "--out", out)
    with program(folder, "sample", arguments) as status:
        assert status == 0 and seen["bright"]


def test_a_network_of_latents_is_no_kind(tmp_path, capsys):
    folder = foreign(tmp_path / "theirs", 2, 4, SIZE)
    (folder / "vae").mkdir()
    (folder / "vae" / "config.json").write_text("{}")
    with program(tmp_path, "train", ("import", "theirs", "--out", "run")) as status:
        assert status == 2
    assert "theirs draws latents, which its vae turns into images" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "run").exists()
