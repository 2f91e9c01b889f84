"""SAFREE as the sample program draws it: prompts are switched from their filtered form to the original, image by image."""

from pathlib import Path

import jax
import numpy as np
import pytest

import sample.draw
from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff.conditions import safree
from jaxdiff.errors import InputError
from jaxdiff.references import references
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.solvers import sample as solve
from sample.command_line import made
from sample.drawing import Drawing
from sample.filtered import Filtered, pair, transition
from sample.options import Draw, Search
from sample.setting import setting
from tests import small_pipeline
from tests.sample.test_text_to_image import GRID, compilations, images

__all__ = ["compilations"]
SCALE, STEPS, COUNT = 3.0, 4, 3
PROMPTS = ("a photo of a man", "two cats", "a woman")
CONCEPTS = ("a cat",)
THRESHOLD = 0.05
"""At which nothing of the second prompt is masked."""
NUMBERS = {"slope": 0.3, "midpoint": 3.0, "share": 0.8}
FILTERED = {"safree": True, "unsafe_concepts": CONCEPTS, **{f"safree_{name}": value for name, value in NUMBERS.items()}}


def solver(steps: int = STEPS) -> DDIM:
    """That of the program, with the nodes of the folder's scheduler."""
    return DDIM(steps, **GRID)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> Path:
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    (folder / "none.txt").write_text("\n \n")
    (folder / "table.toml").write_text('[attributes]\nsize = ["big", "small"]\n[concepts]\ncat = { size = "equal" }\n')
    return {each.stem: each for each in folder.iterdir()}


@pytest.fixture(scope="module")
def drawn(pipeline, files, tmp_path_factory):
    """Draws a set; one of the same options is drawn once."""
    sets: dict[str, SampleSet] = {}

    def draw(**options) -> SampleSet:
        if (name := repr(options)) not in sets:
            given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": COUNT, "guidance_scale": SCALE}
            given |= {} if options.keys() & {"prompt", "attribute"} else {"prompts": files["prompts"]}
            out = tmp_path_factory.mktemp("sets") / "set"
            (found,) = sample.draw.draw(made(Draw, model=pipeline, out=out, **{**given, **options}))
            sets[name] = SampleSet.open(found)
        return sets[name]

    return draw


def by_library(pipeline, denoise, condition, at, steps=STEPS) -> np.ndarray:
    """What is drawn under a denoiser, switched from filtered to original conditions."""
    model = load_model(pipeline)
    x = solve(
        guidance.switching(denoise, at), model.process, shape=model.shape, solver=solver(steps), key=jax.random.key(0),
        condition=condition,
    )  # fmt: skip
    return model.space.decode(x).astype(int)


def filtered(model, prompts, steps=STEPS):
    """Filtered and original conditions, and the times of their transitions."""
    found = safree.filter_prompts(model.conditions, prompts, CONCEPTS, **NUMBERS)
    original = model.conditions.encode_prompts(prompts)
    return {**original, "text": found.text}, original, safree.transition(found.last, solver(steps).times(model.process))


def require_same(samples: SampleSet, expected: np.ndarray) -> None:
    levels = np.abs(images(samples).astype(int) - expected)
    assert levels.max() <= 1 and (levels > 0).mean() < 1e-2


def test_each_image_starts_with_its_filtered_prompt_until_its_own_time(drawn, pipeline):
    found, model = drawn(**FILTERED), load_model(pipeline)
    start, end, at = filtered(model, PROMPTS)
    assert len(set(at.tolist())) == 3 and (at > 0).all() and (at < 1).all()
    guided = guidance.classifier_free(model.denoise, model.conditions.null, SCALE)
    require_same(found, by_library(pipeline, guided, (start, end), at))
    changed = np.abs(images(found).astype(int) - images(drawn())).reshape(COUNT, -1).max(1)
    assert (changed > 1).all()
    said = found.provenance["modifiers"]["safree"]
    assert said["concepts"] == ["a cat"] and said["last_step"] == [19, 9, 12] and said["masked"][2] == [1]
    assert {name: said[name] for name in NUMBERS} == NUMBERS and said["threshold"] == 0.01
    assert found.provenance["evaluations"] == drawn().provenance["evaluations"]


def test_without_concepts_or_masked_tokens_it_is_plain_sampling_bit_for_bit(drawn, files):
    plain = images(drawn())
    empty = drawn(safree=True, unsafe_concepts=(str(files["none"]),))
    np.testing.assert_array_equal(images(empty), plain)
    assert "modifiers" not in empty.provenance
    unmasked = drawn(**FILTERED, safree_threshold=100.0)
    np.testing.assert_array_equal(images(unmasked), plain)
    assert unmasked.provenance["modifiers"]["safree"]["last_step"] == [-1] * 3


def test_a_prompt_of_which_nothing_is_masked_is_drawn_as_it_is_among_others(drawn):
    some = drawn(**FILTERED, safree_threshold=THRESHOLD)
    unmasked = np.array(some.provenance["modifiers"]["safree"]["last_step"]) == -1
    assert 0 < unmasked.sum() < COUNT
    changed = np.abs(images(some).astype(int) - images(drawn())).reshape(COUNT, -1).max(1)
    assert (changed[unmasked] == 0).all() and (changed[~unmasked] > 0).all()


@pytest.mark.usefixtures("own_cache")
def test_fair_and_safe_by_prompt_in_one_run(drawn, files, pipeline):
    """Values in the shares of a table, prompts with them filtered, and a guard that acts on every image."""
    unsafe = drawn()
    given = {"method": "fair_instruction", "fair_table": str(files["table"]), "prompt": "cats", "count": 4, "batch_size": 4}
    given |= {"steps": 6, "unsafe": str(unsafe.path), "strength": 0.5, "window": (0.0, float("inf"))}
    found, unguarded = drawn(**FILTERED, **given), drawn(**FILTERED, **{**given, "strength": 0.0})
    values = found.labels[:, 1].tolist()
    assert sorted(values) == [0, 0, 1, 1] and values == unguarded.labels[:, 1].tolist()
    model = load_model(pipeline)
    start, end, at = filtered(model, [("big cats", "small cats")[value] for value in values], 6)
    assert (at < 1).all()
    refs = references(np.asarray(model.space.encode(images(unsafe))), limits=model.space.limits)
    guided = guidance.classifier_free(model.denoise, model.conditions.null, SCALE)
    safe = guidance.safe(guided, model.process, refs, strength=0.5, window=(0.0, float("inf")))
    require_same(found, by_library(pipeline, safe, (start, end), at, 6))
    changed = np.abs(images(found).astype(int) - images(unguarded)).reshape(4, -1).max(1)
    assert (found.sample_notes()["acted"] > 0).all() and (changed > 1).all()


@pytest.mark.slow
@pytest.mark.usefixtures("own_cache")
def test_both_prompts_of_a_switch_are_filtered_under_a_guard(drawn, pipeline, files):
    """The unsafe images are those of a set; the switch is inside of the guard, and the filter outside of both."""
    unsafe = drawn()
    prompts = ("two cats", "a woman")
    given = {"attribute": f"group: {' | '.join(prompts)}", "method": "switching", "tau": (0.3,), "count": 2, "batch_size": 2}
    given |= {"steps": 6, "unsafe": str(unsafe.path), "strength": 0.5, "window": (0.0, float("inf"))}
    found = drawn(**FILTERED, **given)
    model = load_model(pipeline)
    start, end, at = filtered(model, prompts, 6)
    swapped = lambda tree: jax.tree.map(lambda leaf: leaf[::-1], tree)  # noqa: E731
    refs = references(np.asarray(model.space.encode(images(unsafe))), limits=model.space.limits)
    guided = guidance.switching(guidance.classifier_free(model.denoise, model.conditions.null, SCALE), 0.3)
    safe = guidance.safe(guided, model.process, refs, strength=0.5, window=(0.0, float("inf")))
    condition = (swapped(start), start), (swapped(end), end)
    require_same(found, by_library(pipeline, safe, condition, np.full(2, at.min()), 6))
    assert (found.sample_notes()["acted"] > 0).all()


def test_where_several_prompts_of_an_image_are_filtered_the_last_transition_counts():
    one, other = (
        Filtered({"text": np.full((2, 3), own)}, {"text": np.full((2, 3), own + 1)}, np.array(at, np.float32))
        for own, at in ((1, [0.9, 1.0]), (5, [0.8, 1.0]))
    )
    signs = np.zeros((2, 4))
    start, end = pair((one, (other, other), signs))
    np.testing.assert_array_equal(transition((one, (other, other), signs)), np.array([0.8, 1.0], np.float32))
    assert [leaf[0, 0] for leaf in jax.tree.leaves(start)] == [1, 5, 5, 0]
    assert [leaf[0, 0] for leaf in jax.tree.leaves(end)] == [2, 6, 6, 0]


def test_other_prompts_concepts_and_numbers_compile_nothing(drawn, compilations):
    drawn(**FILTERED)
    compilations.clear()
    drawn(**{**FILTERED, "unsafe_concepts": ("man", "photo"), "safree_midpoint": 1.0}, safree_threshold=0.02, seed=3)
    assert not compilations


def test_the_concepts_are_the_negative_prompt_if_asked(drawn):
    found = drawn(**{**FILTERED, "unsafe_concepts": ("a cat", "dog")}, safree_negative=True)
    given = drawn(**{**FILTERED, "unsafe_concepts": ("a cat", "dog")}, negative="a cat, dog")
    np.testing.assert_array_equal(images(found), images(given))
    assert found.provenance["negative_prompt"] == "a cat, dog"


def test_what_is_masked_is_printed(pipeline, files, tmp_path, capsys):
    options = made(Draw, model=pipeline, out=tmp_path, prompts=files["prompts"], solver="ddim", steps=STEPS, **FILTERED)
    chosen = setting(pipeline, None, (), options, method=options.method, abstract=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "--safree: unsafe concepts: a cat" in shown and "SAFREE filters 3 of 3 prompts" in shown
    assert "SAFREE masks in 'a woman': 'a', distance 0.166, filtered in 13 of 50 steps" in shown
    assert Drawing(chosen, options.method).captions()["parts"] == ["vanilla", "SAFREE"]


def test_a_program_that_is_not_run_needs_no_states(pipeline, files, tmp_path):
    """Conditions of shapes alone have the structure of those that are drawn with."""
    options = made(Draw, model=pipeline, out=tmp_path, prompts=files["prompts"], solver="ddim", steps=STEPS, **FILTERED)
    rows = []
    for abstract in (False, True):
        chosen = setting(pipeline, None, (), options, method=options.method, abstract=abstract)
        rows.append(Drawing(chosen, options.method).plan.rows)
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) for each in rows]
    assert isinstance(rows[1], Filtered) and shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"safree": True}, "--safree needs --unsafe-concepts"),
        ({"safree_share": 0.3}, "--safree-share needs --safree"),
        ({"unsafe_concepts": ("a cat",)}, "--unsafe-concepts is for .*--safree"),
        ({**FILTERED, "safree_share": 0.0}, r"--safree-share must lie in \(0, 1\], got 0"),
        ({**FILTERED, "steps": 1}, "--steps must be at least 2 for --safree, got 1"),
        ({**FILTERED, "safree_negative": True}, "--safree-negative needs --guidance-scale"),
        (
            {**FILTERED, "safree_negative": True, "negative": "dull", "guidance_scale": 2.0},
            "--safree-negative and --negative both give the negative prompt",
        ),
        ({**FILTERED, "method": "editing"}, "--method editing computes its mask at a separate time"),
        (
            {**FILTERED, "method": "fair_projection", "fair_table": "embedded"},
            "--method fair_projection replaces the embeddings of prompts, as SAFREE does; got .* with --safree",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_errors(options, message):
    with pytest.raises(InputError, match=message):
        made(Draw, model=Path("none"), out=Path("set"), **{"solver": "ddim", "prompt": "a cat", **options})


def test_models_and_searches_that_do_not_fit_are_errors(folder, tmp_path):
    with pytest.raises(InputError, match="tau is searched without --safree"):
        made(Search, model=folder, **FILTERED)
    options = made(Draw, model=folder, out=tmp_path / "set", **FILTERED)
    with pytest.raises(InputError, match="--unsafe-concepts is for text-to-image models"):
        setting(folder, None, (), options, method=options.method)
    xl = small_pipeline.folder(tmp_path / "xl", xl=True)
    options = made(Draw, model=xl, out=tmp_path / "set", prompt="a cat", **FILTERED)
    with pytest.raises(InputError, match="both must be as wide; got 6 and 5"):
        setting(xl, None, (), options, method=options.method)
