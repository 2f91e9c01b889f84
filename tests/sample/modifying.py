"""What the tests of methods and modifiers share: options that turn each modifier on, and samples drawn under them."""

import tempfile
from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from jaxdiff import classifier as classifiers
from jaxdiff import editing
from jaxdiff import model as models
from jaxdiff.calibration import Calibration
from jaxdiff.classifier import NoisedClassifier
from jaxdiff.data import Attribute
from jaxdiff.data.attributes import product_of
from jaxdiff.errors import InputError
from jaxdiff.models.classifier import ClassifierConfig
from jaxdiff.models.network import Network, noised_classifier
from jaxdiff.process import vp_cosine
from jaxdiff.solvers import DDIM, driver, sample
from sample.command_line import made
from sample.drawing import Drawing
from sample.methods import METHODS
from sample.methods._others import NeedsOthers
from sample.methods._table import NeedsTable
from sample.options import Draw, Search
from sample.search import search
from sample.setting import setting

STEPS, SIZE = 5, 8
_FOLDER = tempfile.TemporaryDirectory(prefix="jaxdiff-tests-", ignore_cleanup_errors=True)
# of rare faces, since all that are selected are rendered: some 200
UNSAFE = {"unsafe": "embedded:glasses=yes+beard=yes+lipstick=yes+hair=long", "unsafe_count": 8}
LABELS = {"unsafe_label": ("group=round",)}
OF_LABELS = [name for name, method in METHODS.items() if not issubclass(method, (NeedsTable, NeedsOthers))]
"""The methods that draw with labels of one attribute; the others need several, or prompts and a fair table."""
METHOD_OPTIONS = {"switching": {"tau": (0.5,)}, "spectral": {"tau": (0.7, 0.3), "edges": (2.0,)}}
OF_PROMPTS = ("safree",)
"""The modifiers of prompts, which other models do not take."""
VALUES = {
    "classifier_free": [{"guidance_scale": 2.0}, {"guidance_scale": 3.0}],
    "interval": [{"guidance_scale": 2.0, "guidance_interval": snr} for snr in ((0.01, 1.0), (0.05, 4.0))],
    "autoguidance": [{"guide_scale": 2.0}, {"guide_scale": 3.0}],
    "adaptive_projected": [
        {"guidance_scale": 2.0, "adaptive_projected": True},
        {"guidance_scale": 4.0, "adaptive_projected": True, "projected_eta": 0.5, "projected_radius": 3.0},
    ],
    "safe_latent": [
        {"guidance_scale": 2.0, "sld": "medium", **LABELS},
        {"guidance_scale": 3.0, "sld": "max", "sld_warmup": 2, "sld_momentum": 0.2, **LABELS},
    ],
    "dynamic_thresholding": [{"dynamic_thresholding": percentile} for percentile in (99.0, 90.0)],
    "safe": [{**UNSAFE, "strength": 0.5}, {**UNSAFE, "strength": 0.9, "window": (0.0, 0.7)}],
    "repellency": [{"guard": "repellency", **UNSAFE, "radius": radius} for radius in (0.9, 0.7)],
    "safety_flow": [{"guard": "safety_flow", **UNSAFE, "strength": strength} for strength in (500.0, 90.0)],
    "negative": [{"guard": "negative", **LABELS, "strength": strength} for strength in (0.5, 0.8)],
    "dynamic_negative": [
        {"guard": "dynamic_negative", **LABELS, "guard_weight": "constant", "strength": strength} for strength in (0.5, 0.8)
    ],
}
"""Of each other modifier the options that turn it on, twice with other numbers."""


def options_of(folder, weaker=None, method="vanilla", modifiers=(), number=0, **given) -> Draw:
    """The options of a draw by a method under modifiers, with the numbers `number` of `VALUES`; autoguidance is by `weaker`."""
    options = {"solver": "ddim", "steps": STEPS, "count": 4, "batch_size": 4, **METHOD_OPTIONS.get(method, {})}
    if method == "inpainting":
        options["region"] = region_file()
    if method == "distribution":
        options["joint_classifiers"] = (joint_classifier(),)
    for name in modifiers:
        options |= VALUES[name][number]
        options |= {"guide": weaker} if name == "autoguidance" else {}
    return made(Draw, model=folder, out=Path("set"), method=method, **{**options, **given})


@cache
def region_file() -> Path:
    """A picture of a region, the lower left quarter, in a folder that goes with the process."""
    path = Path(_FOLDER.name) / "region.png"
    white = np.zeros((SIZE, SIZE), np.uint8)
    white[SIZE // 2 :, : SIZE // 2] = 255
    Image.fromarray(white).save(path)
    return path


GROUP = Attribute("group", ("square", "round"))


@cache
def joint_classifier(name="hair", values=("dark", "fair", "red"), seed=0) -> Path:
    """The folder of an untrained classifier of `group` and another attribute, in a folder that goes with the process."""
    attribute = product_of((GROUP, Attribute(name, values)))
    return written_classifier(Path(_FOLDER.name) / f"{name}-{seed}", vp_cosine(), attribute, seed=seed)


def written_classifier(folder: Path, process, attribute: Attribute, channels=3, size=SIZE, seed=0) -> Path:
    """The folder, with an untrained classifier of noised images, whose answers are not those of its prior."""
    count, rng = len(attribute.values), np.random.default_rng(seed)
    config = ClassifierConfig(
        size=size, channels=channels, values=count, base=8, multipliers=(1,), blocks=0, attention=(), head_channels=8,
        dropout=0.0, stem=2,
    )  # fmt: skip
    shapes = jax.eval_shape(partial(noised_classifier, config), jax.random.key(0))
    weights = jax.tree.map(lambda leaf: jnp.asarray(0.5 * rng.standard_normal(leaf.shape, np.float32)), shapes.weights)
    network, shares = Network(weights, shapes.structure), rng.dirichlet([2] * count)
    calibration, training = Calibration.identity(count), {"step": 1}
    classifiers.save(
        folder, NoisedClassifier(config, network, process, attribute, tuple(shares.tolist()), calibration, training)
    )
    return folder


def example_of(name: str, classifier: Path | None = None):
    """A method with arbitrary transition points; `distribution` takes the classifier, or else that of `group` and hair."""
    given = {"joint_classifiers": (classifier or joint_classifier(),)} if name == "distribution" else {}
    return METHODS[name](**given).example()


def drawing_of(options: Draw) -> Drawing:
    """The first set of these options, made ready."""
    method = options.method
    chosen = setting(options.model, options.attribute, options.values, options, method=method, start=method.start)
    (_, method), *_ = method.sets(options, chosen)
    return Drawing(chosen, method, options.seed)


def first(drawing: Drawing, count=2) -> np.ndarray:
    """The first samples, as the process has them."""
    with jax.set_mesh(drawing.chosen.mesh):
        return drawing.draw(np.arange(count, dtype=np.int32), drawing.ends(4)[:count])[0]


def given_of(drawing: Drawing) -> tuple:
    """The denoiser and the condition that a program of four samples is given."""
    condition = drawing.method.condition(drawing.plan, np.arange(4, dtype=np.int32), drawing.ends(4))
    return drawing.denoiser(condition), condition


def trace(drawing: Drawing) -> None:
    """Runs through the program of a drawing by its shapes alone."""
    chosen, rows = drawing.chosen, np.arange(4, dtype=np.int32)
    denoise, condition = given_of(drawing)
    given = {"shape": chosen.model.shape, "solver": chosen.solver, "key": drawing.key}
    run = lambda condition, rows: sample(denoise, chosen.model.process, condition=condition, indices=rows, **given)  # noqa: E731
    assert jax.eval_shape(run, condition, rows).shape == (4, *chosen.model.shape)


def by_hand(folder, make) -> np.ndarray:
    """What the library draws under the denoiser that `make(model, null)` makes, of the first two samples."""
    model = models.load(folder)
    x = sample(
        make(model, model.conditions.null), model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0),
        condition=model.conditions.encode(np.array([[0], [1]], np.int32)), indices=np.arange(2),
    )  # fmt: skip
    return np.asarray(x)


def plain(folder) -> np.ndarray:
    """The first two samples of plain sampling."""
    return by_hand(folder, lambda model, null: model.denoise)


def evaluations_made(drawing: Drawing, monkeypatch) -> int:
    """How often networks are evaluated for one sample: rows, counted where they are called."""
    rows, original = [], Network.__call__

    def counted(network, x, t, condition):
        # of both arguments, so that it is called for each of several conditions that are mapped over
        jax.debug.callback(lambda x, _: rows.append(len(x)), x, condition)
        return original(network, x, t, condition)

    monkeypatch.setattr(Network, "__call__", counted)
    programs = driver._sample, editing._edit_mask
    for program in programs:
        program.clear_cache()
    first(drawing, 1)
    jax.effects_barrier()
    for program in programs:
        program.clear_cache()
    return sum(rows)


def require_tau_of_its_own(folder, tmp_path, name: str, options: dict, other: dict) -> None:
    """A search runs under the modifier of these options, and its tau is refused without it, and with other numbers."""
    common = {"model": folder, "solver": "ddim", "steps": STEPS, "metric": "pixel", "batch": 4}
    plain_file, file = tmp_path / "plain.json", tmp_path / "under.json"
    assert "modifiers" not in search(made(Search, out=plain_file, **common)).context
    found = search(made(Search, out=file, **common, **options))
    assert found.context["modifiers"].keys() == {name} and np.isfinite(found.curve).all()
    drawn = {"method": "switching", "tau": (), "guidance_scale": options.get("guidance_scale", 1.0)}
    for given in ({**options, "tau_file": plain_file}, {"tau_file": file}, {**options, **other, "tau_file": file}):
        with pytest.raises(InputError, match="was found for"):
            drawing_of(options_of(folder, **{**drawn, **given}))
    drawn |= options
    assert drawing_of(options_of(folder, **drawn, tau_file=file)).method.at == (found.tau,)
