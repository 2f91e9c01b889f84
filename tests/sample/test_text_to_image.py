"""`jaxdiff sample` with a text-to-image folder: prompts stand for values, nothing recompiles, edges are exact."""

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

import sample.draw
import sample.drawing
from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff.data import Attribute
from jaxdiff.errors import InputError
from jaxdiff.interop import clip
from jaxdiff.models.size import weight_count
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.solvers import sample as solve
from jaxdiff.spaces import Pixels
from sample.__main__ import main
from sample.command_line import made
from sample.options import Draw, Search
from sample.search import search
from sample.transitions import default_path
from tests import small_pipeline
from tests.processes import QUICK, succeed

STEPS, COUNT, BATCH, SCALE = 4, 6, 4, 3.0
PROMPTS = ("a photo of a man", "a photo of a woman")
GROUP = f"group: {' | '.join(PROMPTS)}"
GRID = {"spacing": "leading", "offset": 1, "end": "timestep"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


def drawn(folder, out, **options) -> SampleSet:
    """The set that the program draws."""
    given = {"attribute": GROUP, "count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": BATCH, "guidance_scale": SCALE}
    (found,) = sample.draw.draw(made(Draw, model=folder, out=out, **{**given, **options}))
    return SampleSet.open(found)


def images(samples) -> np.ndarray:
    return np.stack([samples.image(i) for i in range(len(samples))])


@pytest.fixture(scope="module")
def vanilla(folder, tmp_path_factory) -> SampleSet:
    return drawn(folder, tmp_path_factory.mktemp("sets") / "vanilla")


@pytest.fixture
def compilations():
    """The programs that are compiled from now on."""
    seen = []
    listen = lambda event, *_, **__: seen.append(event) if event.endswith("backend_compile_duration") else None  # noqa: E731
    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


def test_a_set_is_what_the_library_samples_and_decodes(folder, vanilla):
    model = load_model(folder)
    labels = np.arange(COUNT) % 2
    condition = model.conditions.encode_prompts([PROMPTS[label] for label in labels])
    denoise = guidance.classifier_free(model.denoise, model.conditions.encode_prompts([""]), SCALE)
    x = solve(denoise, model.process, shape=model.shape, solver=DDIM(STEPS, **GRID), key=jax.random.key(0), condition=condition)
    levels = np.abs(images(vanilla).astype(int) - model.space.decode(x).astype(int))
    assert levels.max() <= 1 and (levels > 0).mean() < 1e-2
    np.testing.assert_array_equal(vanilla.labels[:, 0], labels)
    assert vanilla.attributes == (Attribute("group", ("man", "woman")),) and vanilla.space == Pixels(16, 16)


def test_images_of_unsafe_prompts_are_not_drawn_and_the_others_are_those_without_a_gate(
    folder, vanilla, tmp_path, monkeypatch, capsys
):
    model, concepts = clip.load("embedded-clip"), ("glasses", PROMPTS[1])
    cosines = (model.of_prompts(PROMPTS) @ model.of_prompts(concepts).T).max(axis=1)
    assert cosines[1] > 0.9995 > cosines[0]
    calls, solve = [], sample.drawing.sample
    monkeypatch.setattr(sample.drawing, "sample", lambda *given, **named: calls.append(0) or solve(*given, **named))
    gate = {"prompt_gate": Path("embedded-clip"), "prompt_gate_concepts": concepts, "prompt_gate_threshold": 0.9995}
    found = drawn(folder, tmp_path / "set", **gate)
    assert len(calls) == 1  # three images fit in a batch
    np.testing.assert_array_equal(found.refused, vanilla.labels[:, 0] == 1)
    safe = ~found.refused
    assert np.abs(images(found)[safe].astype(int) - images(vanilla)[safe]).max() <= 1 and not images(found)[~safe].any()
    assert "the prompt gate caught the prompts of 3 of 6 images; 3 of 6 images are refused" in " ".join(
        capsys.readouterr().out.split()
    )
    assert found.provenance["prompt_gate"]["concepts"] == list(concepts)

    marked = drawn(folder, tmp_path / "marked", **gate, gate_policy="mark")
    np.testing.assert_array_equal(images(marked), images(vanilla))
    np.testing.assert_array_equal(marked.sample_notes()["prompt_gate_caught"], found.refused)
    assert not marked.refused.any()


DRY_RUNS = """
from pathlib import Path
from sample.command_line import made
from sample.dry_run import dry_run
from sample.options import Draw
options = {{"attribute": {group!r}, "solver": "ddim", "steps": 4, "batch_size": 4, "guidance_scale": 3.0, "dry_run": True}}
options |= {{"guard": "repellency", "unsafe": {unsafe!r}}}
reports = [dry_run(made(Draw, model=Path(folder), out=Path({out!r}), **options)) for folder in {folders!r}]
assert reports[0] == reports[1]
print("OPERATIONS", f"{{reports[0].flops / 16 / 1e9:,.3f}} GFLOP an image and step")
"""


def test_a_dry_run_needs_no_weights(folder, tmp_path):
    """A folder of configurations and tokenizers alone is told to take what the whole folder takes."""
    bare, out = tmp_path / "bare", tmp_path / "set"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*.safetensors"))
    # in a process whose shapes are not checked: JAX's report of a traced program has none
    np.savez(tmp_path / "unsafe.npz", images=np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8))
    code = DRY_RUNS.format(group=GROUP, unsafe=str(tmp_path / "unsafe.npz"), out=str(out), folders=[str(folder), str(bare)])
    told = succeed(("-c", code), 1, **QUICK)[0]
    counts = [weight_count(config) for config in (load_model(folder).config, small_pipeline.VAE)]
    for words in (*(f"{count:,}" for count in counts), "decoding, 4096 at once", told.split("OPERATIONS ")[1].strip()):
        assert told.count(words) >= 2, words
    assert not out.exists()
    with pytest.raises(InputError, match="has no weights"):
        load_model(bare)


def test_tiles_are_an_option_of_large_images(folder, vanilla, tmp_path):
    """Images of one tile are those that are decoded whole; those of several are not, and their set says so."""
    whole, tiled = (drawn(folder, tmp_path / str(tile), tile=tile) for tile in (16, 8))
    np.testing.assert_array_equal(images(whole), images(vanilla))
    assert images(tiled).shape == images(vanilla).shape and (images(tiled) != images(vanilla)).any()
    assert json.loads((tiled.path / "samples.json").read_text())["provenance"]["tile"] == 8
    with pytest.raises(InputError, match="`tile` must be a multiple of 2"):
        drawn(folder, tmp_path / "odd", tile=7)


def test_a_set_records_its_prompts_and_the_grid_of_its_scheduler(folder, vanilla, tmp_path):
    described = json.loads((vanilla.path / "samples.json").read_text())
    assert described["provenance"]["prompts"] == list(PROMPTS) and described["provenance"]["negative_prompt"] is None
    assert described["provenance"]["size"] == [16, 16] and described["provenance"]["model"] == load_model(folder).fingerprint
    assert described["provenance"]["solver"] == {"name": "ddim", "steps": STEPS, "eta": 0.0, **GRID}
    assert described["provenance"]["evaluations"] == 2 * STEPS
    own = drawn(folder, tmp_path / "uniform", spacing="uniform")
    assert own.provenance["solver"] == {"name": "ddim", "steps": STEPS, "eta": 0.0, "spacing": "uniform"}
    assert np.abs(images(own).astype(int) - images(vanilla)).max() > 1


def test_an_image_does_not_depend_on_the_batch(folder, vanilla, tmp_path):
    levels = np.abs(images(drawn(folder, tmp_path / "set", batch_size=2)).astype(int) - images(vanilla))
    assert levels.max() <= 1


def test_other_prompts_scales_seeds_and_tau_compile_nothing(folder, tmp_path, compilations):
    common = {"method": "switching", "count": BATCH}
    drawn(folder, tmp_path / "first", tau=(0.5,), **common)
    compilations.clear()
    other = {"attribute": "group: a dog | two cats", "negative": "a face", "seed": 1, "guidance_scale": 7.5}
    drawn(folder, tmp_path / "second", tau=(0.4,), **common, **other)
    assert not compilations


def test_edges_are_exact(folder, vanilla, tmp_path):
    same = images(drawn(folder, tmp_path / "at-1", method="switching", tau=(1.0,)))
    np.testing.assert_array_equal(same, images(vanilla))
    # never switched: the other prompt's samples, of the same noise
    turned = drawn(folder, tmp_path / "turned", attribute=f"group: woman={PROMPTS[1]} | man={PROMPTS[0]}")
    never = images(drawn(folder, tmp_path / "at-0", method="switching", tau=(0.0,)))
    np.testing.assert_array_equal(never, images(turned))
    assert np.abs(images(turned).astype(int) - images(vanilla)).max() > 1
    plain = images(drawn(folder, tmp_path / "plain", guidance_scale=1.0))
    negative = images(drawn(folder, tmp_path / "negative", guidance_scale=1.0, negative="a face"))
    np.testing.assert_array_equal(plain, negative)
    assert np.abs(plain.astype(int) - images(vanilla)).max() > 1


@pytest.mark.parametrize(
    "options",
    [
        {"method": "mixing"},
        pytest.param({"method": "score_mixing"}, marks=pytest.mark.slow),
        pytest.param({"method": "editing"}, marks=pytest.mark.slow),
        pytest.param({"method": "fair_diffusion", "edit_start": 0.5}, marks=pytest.mark.slow),
        pytest.param({"method": "spectral", "tau": (0.6, 0.5, 0.4), "edges": (1.0, 2.0)}, marks=pytest.mark.slow),
        {"method": "switching", "tau": (0.5,), "start": "none"},
        pytest.param({"guard": "negative", "unsafe_label": ("group=woman",)}, marks=pytest.mark.slow),
    ],
    ids=lambda options: next(iter(options.values())),
)
def test_every_method_takes_prompts(folder, vanilla, tmp_path, options):
    found = images(drawn(folder, tmp_path / "set", count=2, **options))
    assert np.isfinite(found).all() and np.abs(found.astype(int) - images(vanilla)[:2]).max() > 1


def test_a_guard_measures_distances_between_latents(folder, vanilla, tmp_path):
    np.savez(tmp_path / "unsafe.npz", images=images(vanilla)[:2])
    common = {"unsafe": str(tmp_path / "unsafe.npz"), "guard_weight": "constant", "window": (0.0, float("inf")), "count": 2}
    off = drawn(folder, tmp_path / "off", **{**common, "strength": 0.0})
    np.testing.assert_array_equal(images(off), images(vanilla)[:2])
    moved = images(drawn(folder, tmp_path / "on", **{**common, "strength": 0.5}))
    assert np.abs(moved.astype(int) - images(vanilla)[:2]).max() > 1


@pytest.mark.parametrize("metric", [pytest.param("latent", marks=pytest.mark.slow), "pixel"])
def test_the_search_under_a_scale_compares_latents_or_decoded_images(folder, tmp_path, metric):
    given = {"attribute": GROUP, "solver": "ddim", "steps": STEPS, "guidance_scale": SCALE, "batch": 2, "metric": metric}
    found = search(made(Search, model=folder, out=tmp_path / "tau.json", **given))
    model = load_model(folder)
    denoise = guidance.classifier_free(model.denoise, model.conditions.null, SCALE)
    ends = [
        solve(
            denoise, model.process, shape=model.shape, solver=DDIM(STEPS, **GRID), key=jax.random.key(0),
            condition=model.conditions.encode_prompts([prompt] * 2),
        )
        for prompt in PROMPTS
    ]  # fmt: skip
    first, second = (np.asarray(x if metric == "latent" else model.space.decoding(x), np.float64) for x in ends)
    # at tau = 0 nothing is switched: the distance of the two prompts' own samples
    assert found.curve[0] == pytest.approx(np.sqrt(np.square(first - second).sum((1, 2, 3)).mean()), rel=1e-4)
    assert found.context["prompts"] == list(PROMPTS) and found.context["guidance_scale"] == SCALE


@pytest.mark.slow  # as test_prompts_as_conditions.py has it of a search
def test_tau_belongs_to_its_prompts(folder, tmp_path, call_program, capsys):
    given = {"attribute": GROUP, "solver": "ddim", "steps": STEPS, "batch": 2, "metric": "latent"}
    search(made(Search, model=folder, out=tmp_path / "tau.json", **given))
    common = ["--model", folder, "--solver", "ddim", "--steps", STEPS, "--method", "switching", "--tau-file", "tau.json"]
    other = GROUP.replace("photo", "painting")
    assert call_program(main, "sample", "draw", *common, "--count", 2, "--attribute", other, "--out", "set") == 2
    assert "prompts" in capsys.readouterr().err and not (tmp_path / "set" / "samples.json").exists()


def test_tau_of_a_model_on_a_hub_needs_a_file():
    with pytest.raises(InputError, match=r"hub, where tau cannot be kept: .* --out .* --tau-file"):
        default_path(Path("hf://someone/faces"), chosen=None)


def test_a_file_of_prompts_is_an_attribute(folder, tmp_path, call_program):
    (tmp_path / "prompts.txt").write_text("a dog\n\na cat\na dog\n")
    (tmp_path / "prompts.csv").write_text('id,prompt\n1,a dog\n2,"a cat"\n')
    sets = []
    for file in ("prompts.txt", "prompts.csv"):
        common = ["--model", folder, "--solver", "ddim", "--steps", 2, "--count", 2, "--guidance-scale", SCALE]
        assert call_program(main, "sample", "draw", *common, "--prompts", file, "--out", file[-3:]) == 0
        sets.append(SampleSet.open(tmp_path / file[-3:]))
        assert sets[-1].attributes == (Attribute("prompt", ("a dog", "a cat")),)
    np.testing.assert_array_equal(images(sets[0]), images(sets[1]))


def test_a_template_gives_prompts_to_combinations_of_values(folder, tmp_path):
    file = tmp_path / "faces.toml"
    file.write_text('prompt = "a {age} {group}"\ngroup = ["man", "woman"]\nage = { young = "young", old = "grey" }\n')
    found = drawn(folder, tmp_path / "set", attribute=None, prompts=file, count=4)
    assert [each.name for each in found.attributes] == ["group", "age"]
    np.testing.assert_array_equal(found.labels, [[0, 0], [0, 1], [1, 0], [1, 1]])
    assert found.provenance["prompts"] == ["a young man", "a grey man", "a young woman", "a grey woman"]


def test_a_prompt_that_is_too_long_is_cut_and_its_end_printed(folder, tmp_path, call_program, capsys):
    common = ["--model", folder, "--solver", "ddim", "--steps", 2, "--count", 1, "--out", "set"]
    assert call_program(main, "sample", "draw", *common, "--prompt", "a man " * 20) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "too long" in printed and "a man" in printed and "without --guidance-scale" in printed


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([], ["text-to-image", "--prompt", "--prompts", "--attribute"]),
        (["--prompt", "a dog", "--size", "31"], ["multiples of 2", "31"]),
        (["--prompt", "a dog", "--attribute", GROUP], ["--prompt", "--attribute"]),
        (["--prompt", "a dog", "--method", "switching", "--tau", "0.5"], ["--method switching", "--attribute"]),
        (["--attribute", "group: a dog"], ["'group'", "two texts"]),
        (["--prompts", "missing.txt"], ["missing.txt"]),
    ],
)
def test_wrong_prompts_are_an_error_before_any_compute(folder, tmp_path, call_program, capsys, given, words):
    assert call_program(main, "sample", "draw", "--model", folder, "--count", 2, "--out", "set", *given) == 2
    printed = " ".join(capsys.readouterr().err.split())
    assert all(word in printed for word in words) and "Traceback" not in printed
    assert not (tmp_path / "set" / "samples.json").exists()


def test_other_models_take_no_prompts(save_model, tmp_path, call_program, capsys):
    model = save_model(tmp_path / "run")
    for given in (["--prompt", "a dog"], ["--negative", "a dog"], ["--size", "16"], ["--attribute", GROUP]):
        assert call_program(main, "sample", "draw", "--model", model, "--out", "set", *given) == 2
        assert f"{given[0]} is for text-to-image models" in " ".join(capsys.readouterr().err.split())
