"""Safe Latent Diffusion as the sample program draws it, from labels and from prompts."""

from pathlib import Path

import jax
import numpy as np
import pytest

import sample.draw
from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff.defaults import SLD
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.solvers import sample as solve
from sample.__main__ import main
from sample.command_line import made
from sample.options import Draw, Search
from tests import small_pipeline
from tests.sample.modifying import VALUES, by_hand, drawing_of, first, options_of, plain, require_tau_of_its_own

SCALE, STEPS = 3.0, 5
PROMPT = "a photo of a man"
COMMON = {"prompt": PROMPT, "count": 2, "solver": "ddim", "steps": STEPS, "batch_size": 2, "guidance_scale": SCALE}


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


def images(pipeline, out, **options) -> tuple[np.ndarray, SampleSet]:
    """The images of the set that the program draws, and the set."""
    (found,) = sample.draw.draw(made(Draw, model=pipeline, out=out, **{**COMMON, **options}))
    samples = SampleSet.open(found)
    return np.stack([samples.image(i) for i in range(len(samples))]), samples


@pytest.fixture(scope="module")
def guided(pipeline, tmp_path_factory) -> np.ndarray:
    """Images under plain guidance."""
    return images(pipeline, tmp_path_factory.mktemp("sets") / "plain")[0]


def test_it_takes_the_place_of_plain_guidance_of_labels(folder):
    numbers = {name: getattr(SLD["medium"], name) for name in ("strength", "threshold", "momentum", "momentum_decay")}

    def make(model, null):
        unsafe = model.conditions.encode(np.array([[1]], np.int32))[0]  # group=round
        start = DDIM(STEPS).times(model.process)[1]  # 10 of 50 steps
        own = guidance.safe_latent(model.denoise, model.process, null, unsafe, scale=2.0, start=start, **numbers)
        return guidance.clipped(own)

    drawing = drawing_of(options_of(folder, modifiers=["safe_latent"]))
    assert [ready.modifier.name for ready in drawing.chosen.nest.modifiers] == ["safe_latent"]
    drawn = first(drawing)
    np.testing.assert_allclose(drawn, by_hand(folder, make), atol=2e-4)
    alone = by_hand(folder, lambda model, null: guidance.clipped(guidance.classifier_free(model.denoise, null, 2.0)))
    assert min(np.abs(drawn - other).max() for other in (plain(folder), alone)) > 1e-3


def test_concepts_are_one_prompt_away_from_which_prompts_are_guided(pipeline, guided, tmp_path):
    """In the words of a file and of the command line, which are joined by commas."""
    (tmp_path / "concepts.txt").write_text("a woman\n\n  photo \na woman\n")
    concepts = ("a dog", str(tmp_path / "concepts.txt"))
    given = {"sld": "strong", "sld_warmup": 0, "sld_strength": 30.0, "unsafe_concepts": concepts}
    drawn, samples = images(pipeline, tmp_path / "set", **given)
    model = load_model(pipeline)
    unsafe = jax.tree.map(lambda leaf: leaf[0], model.conditions.encode_prompts(["a dog, a woman, photo"]))
    strong = SLD["strong"]
    own = guidance.safe_latent(
        model.denoise, model.process, model.conditions.null, unsafe, scale=SCALE, strength=30.0, threshold=strong.threshold,
        start=1.0, momentum=strong.momentum, momentum_decay=strong.momentum_decay,
    )  # fmt: skip
    x = solve(
        own, model.process, shape=model.shape, solver=DDIM(STEPS, **model.grids["ddim"]), key=jax.random.key(0),
        condition=model.conditions.encode_prompts([PROMPT] * 2),
    )  # fmt: skip
    assert np.abs(drawn.astype(int) - model.space.decode(x)).max() <= 1
    assert np.abs(drawn.astype(int) - guided).max() > 1
    assert samples.provenance["modifiers"]["safe_latent"] == {
        "preset": "strong", "warmup": 0, "strength": 30.0, "threshold": 0.025, "momentum": 0.5, "momentum_decay": 0.7,
        "unsafe_concepts": ["a dog", "a woman", "photo"],
    }  # fmt: skip
    assert samples.provenance["evaluations"] == 3 * STEPS


def test_concepts_that_are_the_negative_prompt_change_nothing_which_is_printed(pipeline, tmp_path, capsys):
    alone, _ = images(pipeline, tmp_path / "alone", negative="a woman")
    assert "changes nothing" not in capsys.readouterr().out
    both, _ = images(pipeline, tmp_path / "both", negative="a woman", sld="max", unsafe_concepts=("a woman",))
    np.testing.assert_array_equal(both, alone)
    printed = " ".join(capsys.readouterr().out.split())
    assert "Warning: --sld: the unsafe concepts are the negative prompt" in printed


def test_without_strength_or_concepts_it_is_plain_guidance_bit_for_bit(pipeline, guided, tmp_path, capsys):
    (tmp_path / "none.txt").write_text("\n")
    for number, given in enumerate(
        ({"sld_strength": 0.0, "unsafe_concepts": ("a dog",)}, {"unsafe_concepts": (str(tmp_path / "none.txt"),)})
    ):
        drawn, samples = images(pipeline, tmp_path / str(number), sld="max", **given)
        np.testing.assert_array_equal(drawn, guided)
        assert samples.provenance["evaluations"] == 2 * STEPS
    assert "Warning: there are no unsafe concepts" in capsys.readouterr().out


@pytest.mark.parametrize(("steps", "preset", "given", "warmup"), [
    (50, "weak", None, 15), (50, "medium", None, 10), (50, "strong", None, 7), (20, "strong", None, 3), (20, "max", None, 0),
    (20, "medium", 5, 5),
])  # fmt: skip
def test_the_warm_up_is_the_presets_share_of_the_steps_or_the_given_number(folder, steps, preset, given, warmup):
    drawing = drawing_of(options_of(folder, steps=steps, sld=preset, sld_warmup=given, unsafe_label=("group=round",)))
    (ready,) = drawing.chosen.nest.modifiers
    assert ready.settings["warmup"] == warmup
    denoise = drawing.denoiser(drawing.method.condition(drawing.plan, np.arange(1), np.zeros(1, int)))
    (start,) = [point for point in guidance.breakpoints(denoise)]
    assert float(start) == (np.asarray(DDIM(steps).times(drawing.chosen.model.process))[warmup] if warmup else 1.0)


def test_a_warm_up_of_all_steps_is_plain_guidance(folder):
    given = {"guidance_scale": 2.0, "sld": "max", "unsafe_label": ("group=round",), "sld_warmup": STEPS}
    alone = by_hand(folder, lambda model, null: guidance.clipped(guidance.classifier_free(model.denoise, null, 2.0)))
    np.testing.assert_allclose(first(drawing_of(options_of(folder, **given))), alone, atol=2e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sld": "medium"}, "--sld needs --unsafe-concepts"),
        ({"sld": "medium", "unsafe_concepts": ("a",), "unsafe_label": ("group=round",)}, "both say what is unsafe"),
        ({"sld_strength": 2.0}, "--sld-strength needs --sld, which enables safe_latent"),
        ({"unsafe_concepts": ("a",)}, "--unsafe-concepts is for --sld or --safree or --guard negative, dynamic_negative"),
        ({"unsafe": "x", "unsafe_concepts": ("a",)}, "--unsafe-concepts is for --sld or --safree or --guard negative"),
        ({"sld": "max", "sld_momentum_decay": 1.0, "unsafe_label": ("group=round",)}, "must lie in [0, 1), got 1"),
        ({"sld": "max", "sld_strength": -1.0, "unsafe_label": ("group=round",)}, "must be at least 0, got -1"),
        ({**VALUES["safe_latent"][0], "adaptive_projected": True}, "cannot be combined"),
    ],
    ids=str,
)  # fmt: skip
def test_options_that_cannot_be_combined_are_errors(options, message, folder):
    with pytest.raises(InputError) as caught:
        options_of(folder, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--sld", "max", "--unsafe-concepts", "missing.txt"], "missing.txt does not exist"),
        (["--sld", "mild", "--unsafe-concepts", "a dog"], "mild"),
        (["--sld", "max", "--unsafe-label", "group=round"], "group"),
    ],
)
def test_wrong_concepts_are_an_error_before_any_compute(pipeline, tmp_path, call_program, capsys, given, message):
    common = ["--model", pipeline, "--prompt", PROMPT, "--count", 2, "--out", "set"]
    assert call_program(main, "sample", "draw", *common, *given) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert message in printed and "Traceback" not in printed and not (tmp_path / "set" / "samples.json").exists()


def test_models_of_labels_take_no_concepts(folder):
    with pytest.raises(InputError, match="--unsafe-concepts is for text-to-image models"):
        drawing_of(options_of(folder, sld="max", unsafe_concepts=("a dog",)))


def test_a_tau_is_valid_only_with_it_and_is_searched_without_a_warm_up(folder, tmp_path):
    options = {**VALUES["safe_latent"][0], "sld_warmup": 0}
    require_tau_of_its_own(folder, tmp_path, "safe_latent", options, {"sld_strength": 10.0})
    with pytest.raises(InputError, match="a search does not support the warm-up of --sld"):
        made(Search, model=folder, **VALUES["safe_latent"][0])
    with pytest.raises(InputError, match="--mode spectral does not support --sld"):
        made(Search, model=folder, mode="spectral", **options)
