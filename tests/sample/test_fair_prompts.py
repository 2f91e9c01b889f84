"""Fairness by prompt in the program: values are drawn by a fair table, and prompts without a concept stay as they are."""

from pathlib import Path

import jax
import numpy as np
import pytest

import sample.draw
from jaxdiff import guidance
from jaxdiff import load as load_model
from jaxdiff.conditions.projection import FairProjection
from jaxdiff.errors import InputError
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM
from jaxdiff.solvers import sample as solve
from sample.command_line import made
from sample.options import Draw
from tests import small_pipeline
from tests.sample.test_text_to_image import GRID, compilations, images

__all__ = ["compilations"]
STEPS, COUNT, SCALE = 4, 6, 3.0
PROMPTS = ("a photo of a dog", "a photo of a face", "two cats")
TABLE = """
[attributes]
group = ["man", "woman"]
size = ["big", "small"]
[concepts]
dog = { group = "equal", size = { big = 1.0, small = 0.0 } }
cat = { group = { man = 0.0, woman = 1.0 } }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return small_pipeline.folder(tmp_path_factory.mktemp("pipelines") / "small", shallow=True)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    """A file of prompts and a table."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    (folder / "table.toml").write_text(TABLE)
    return {"prompts": folder / "prompts.txt", "table": folder / "table.toml"}


@pytest.fixture(scope="module")
def drawn(folder, files, tmp_path_factory):
    """Draws a set; one of the same options is drawn once."""
    sets: dict[str, SampleSet] = {}

    def draw(**options) -> SampleSet:
        if (name := repr(options)) not in sets:
            given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": COUNT, "guidance_scale": SCALE}
            given |= {} if options.keys() & {"prompt", "prompts"} else {"prompts": files["prompts"]}
            out = tmp_path_factory.mktemp("sets") / "set"
            (found,) = sample.draw.draw(made(Draw, model=folder, out=out, **{**given, **options}))
            sets[name] = SampleSet.open(found)
        return sets[name]

    return draw


def fair(files, method, **options):
    return {"method": method, "fair_table": str(files["table"]), **options}


METHODS = {
    "fair_instruction": {}, "fair_diffusion": {"edit_start": 0.5}, "fair_projection": {},
    "switching": {"start": "none", "tau": (0.6,)},
}  # fmt: skip


# of the others what is drawn is compared below
QUICK = {"fair_instruction", "fair_projection"}


@pytest.mark.parametrize("method", [pytest.param(each, marks=[pytest.mark.slow] * (each not in QUICK)) for each in METHODS])
def test_prompts_without_a_concept_are_drawn_as_without_the_table(method, drawn, files):
    plain, found = drawn(), drawn(**fair(files, method, **METHODS[method]))
    of = np.arange(COUNT) % 3
    np.testing.assert_array_equal(images(found)[of == 1], images(plain)[of == 1])
    differs = np.abs(images(found).astype(int) - images(plain)).reshape(COUNT, -1).max(1)
    assert (differs[of != 1] > 0).all()
    assert found.labels[:, 0].tolist() == of.tolist()
    # dogs of each group, all big; faces without a value; cats that are women
    assert sorted(found.labels[of == 0, 1].tolist()) == [0, 1] and set(found.labels[of == 0, 2]) == {0}
    assert found.labels[of == 1, 1:].tolist() == [[-1, -1]] * 2 and found.labels[of == 2, 1:].tolist() == [[1, -1]] * 2
    assert [each.name for each in found.attributes] == ["prompt", "group", "size"]
    expected = {
        "dog": {"group": {"man": 0.5, "woman": 0.5}, "size": {"big": 1, "small": 0}},
        "cat": {"group": {"man": 0, "woman": 1}},
    }
    assert found.provenance["shares_of_concepts"] == expected


def test_fair_instruction_draws_the_prompts_with_their_values(drawn, files, folder):
    found = drawn(**fair(files, "fair_instruction"))
    groups = found.labels[found.labels[:, 0] == 0, 1]
    dogs = ("a photo of a man big dog", "a photo of a woman big dog")
    prompts = [dogs[groups[0]], PROMPTS[1], "two woman cats", dogs[groups[1]], PROMPTS[1], "two woman cats"]
    model = load_model(folder)
    denoise = guidance.classifier_free(model.denoise, model.conditions.encode_prompts([""]), SCALE)
    x = solve(
        denoise, model.process, shape=model.shape, solver=DDIM(STEPS, **GRID), key=jax.random.key(0),
        condition=model.conditions.encode_prompts(prompts),
    )  # fmt: skip
    levels = np.abs(images(found).astype(int) - model.space.decode(x).astype(int))
    assert levels.max() <= 1 and (levels > 0).mean() < 1e-2
    assert set(prompts) <= set(found.provenance["prompts"])


def test_fair_guidance_is_semantic_guidance_with_the_strengths_of_each_image(drawn, files, folder):
    """One program with signs against a program for each image, whose strengths are its own."""
    found = drawn(**fair(files, "fair_diffusion", edit_start=0.5, edit_scale=2.0))
    model = load_model(folder)
    null, latents = model.conditions.encode_prompts([""]), []
    concepts = [
        model.conditions.encode_prompts([text]) for text in ("man person", "woman person", "big person", "small person")
    ]
    for index in (0, 2, 3):
        prompt, group, size = found.labels[index]
        signs = [0.0 if label < 0 else 1.0 if value == label else -1.0 for label in (group, size) for value in range(2)]
        guided = guidance.semantic(
            model.denoise, model.process, null, strengths=2 * np.array(signs), scale=SCALE, start=0.5
        )  # fmt: skip
        condition = model.conditions.encode_prompts([PROMPTS[prompt]]), tuple(concepts)
        latents.append(
            solve(
                guided, model.process, shape=model.shape, solver=DDIM(STEPS, **GRID), key=jax.random.key(0),
                condition=condition, indices=np.array([index]),
            )[0]
        )  # fmt: skip
    levels = np.abs(images(found)[[0, 2, 3]].astype(int) - model.space.decode(np.stack(latents)).astype(int))
    assert levels.max() <= 1 and (levels > 0).mean() < 1e-2


def test_from_no_value_to_the_own_value(drawn, files):
    """At the ends of time the switch is the prompt alone, bit for bit."""
    plain, instructed = images(drawn()), images(drawn(**fair(files, "fair_instruction")))
    at = {tau: images(drawn(**fair(files, "switching", start="none", tau=(tau,)))) for tau in (0.0, 0.6, 1.0)}
    np.testing.assert_array_equal(at[0.0], plain)
    np.testing.assert_array_equal(at[1.0], instructed)
    changed = np.arange(COUNT) % 3 != 1
    for end in (plain, instructed):
        assert (np.abs(at[0.6].astype(int) - end).reshape(COUNT, -1).max(1)[changed] > 0).all()


def test_a_projection_without_injection_leaves_nothing_of_the_value(drawn, files):
    """Images of one prompt and one noise are the same whatever value is drawn; with the injection they are not."""
    one = {"prompt": PROMPTS[0], "count": 4}
    tables = {}
    for share in (0.0, 1.0):
        file = files["table"].with_name(f"table-{share:g}.toml")
        file.write_text(TABLE.replace('group = "equal"', f"group = {{ man = {share}, woman = {1 - share} }}"))
        tables[share] = {"method": "fair_projection", "fair_table": str(file), **one}
    alone = [images(drawn(**tables[share], injection=0.0)) for share in tables]
    np.testing.assert_array_equal(*alone)
    assert np.abs(alone[0].astype(int) - images(drawn(**one))).max() > 0
    towards = [images(drawn(**tables[share])) for share in tables]
    assert np.abs(towards[0].astype(int) - towards[1]).max() > 0


def test_other_prompts_values_and_strengths_compile_nothing(folder, files, tmp_path, compilations):
    given = {"model": folder, "solver": "ddim", "steps": STEPS, "count": 4, "batch_size": COUNT, "guidance_scale": SCALE}
    given |= {"method": "fair_diffusion", "edit_start": 0.5}
    sample.draw.draw(made(Draw, out=tmp_path / "a", prompt=PROMPTS[0], fair_table=str(files["table"]), **given))
    compilations.clear()
    given |= {"seed": 5, "edit_scale": 7.0, "edit_start": 0.6, "guidance_scale": 2.0, "assignment": "iid"}
    other = files["table"].with_name("other.toml")
    other.write_text(TABLE.replace('"small"', '"tiny"').replace("small =", "tiny ="))
    sample.draw.draw(made(Draw, out=tmp_path / "b", prompt="the dogs", fair_table=str(other), **given))
    assert not compilations


# --- columns of a file of prompts ---


def test_a_prompt_follows_its_own_seed_and_guidance(drawn, tmp_path_factory):
    """Image n of a prompt is image n of a set of that prompt alone, with its seed and scale."""
    file = tmp_path_factory.mktemp("columns") / "prompts.csv"
    file.write_text('guidance,seed,prompt\n2.5,4000000000,a dog\n,7,"two, cats"\n')
    found = images(drawn(prompts=file))
    for place, (prompt, seed, scale) in enumerate((("a dog", 4000000000, 2.5), ("two, cats", 7, SCALE))):
        alone = images(drawn(prompt=prompt, seed=seed, guidance_scale=scale, count=3))
        assert np.abs(found[place::2].astype(int) - alone).max() <= 1
    swapped = tmp_path_factory.mktemp("columns") / "prompts.csv"
    swapped.write_text('guidance,seed,prompt\n3.5,7,a dog\n,7,"two, cats"\n')
    other = drawn(prompts=swapped)
    assert (np.abs(images(other).astype(int) - found).reshape(COUNT, -1).max(1) > 1).tolist() == [True, False] * 3
    assert other.provenance["seeds_of_prompts"] == [7, 7] and other.provenance["guidance_scales"] == [3.5, SCALE]


def test_other_scales_and_seeds_of_prompts_compile_nothing(folder, tmp_path, compilations):
    given = {"model": folder, "solver": "ddim", "steps": STEPS, "count": 4, "batch_size": COUNT, "guidance_scale": SCALE}
    for name, rows in (("a", "a dog,1,2\ntwo cats,2,3\n"), ("b", "a face,3,5\nthe dogs,4,1\n")):
        (tmp_path / f"{name}.csv").write_text(f"prompt,seed,guidance\n{rows}")
        compilations.clear()
        sample.draw.draw(made(Draw, out=tmp_path / name, prompts=tmp_path / f"{name}.csv", **given))
    assert not compilations


def test_prompts_with_seeds_and_values(drawn, files, tmp_path_factory):
    """A fair table and columns together: prompts without a concept are those of the file alone."""
    file = tmp_path_factory.mktemp("columns") / "prompts.csv"
    file.write_text("prompt,seed,guidance\na photo of a dog,1,2\na photo of a face,2,4\n")
    plain, found = drawn(prompts=file), drawn(prompts=file, **fair(files, "fair_instruction"))
    np.testing.assert_array_equal(images(found)[1::2], images(plain)[1::2])
    assert (np.abs(images(found).astype(int) - images(plain)).reshape(COUNT, -1).max(1)[::2] > 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fair_instruction"}, "--method fair_instruction needs --fair-table"),
        ({"method": "fair_projection"}, "--method fair_projection needs --fair-table"),
        ({"fair_table": "embedded"}, "--fair-table is for --method .*fair_instruction.*, got --method vanilla"),
        (
            {"method": "fair_instruction", "fair_table": "no.toml"},
            "--fair-table must be a file, or one of embedded, occupations",
        ),
        (
            {"method": "fair_instruction", "fair_table": "embedded"},
            "its concepts: firefighter, engineer, doctor, teacher, nurse",
        ),
        ({"method": "fair_diffusion", "fair_table": "embedded", "target": (0.5, 0.5)}, "--target and --fair-table both"),
        ({"method": "switching", "fair_table": "embedded", "tau": (0.5,)}, "give --start none and --tau; no search finds"),
        ({"method": "switching", "fair_table": "embedded", "start": "none"}, "give --start none and --tau; no search finds"),
        ({"method": "switching", "tau": (0.5,), "assignment": "iid"}, "--assignment of --method switching needs --fair-table"),
        ({"method": "fair_instruction", "fair_table": "embedded", "values": ("a", "b")}, "--values and --fair-table both"),
        (
            {"method": "fair_instruction", "fair_table": "embedded", "attribute": "group: a dog | two cats"},
            "for neutral prompts",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit_are_errors(options, message, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = {} if "attribute" in options else {"prompt": "a nurse" if "values" in options else PROMPTS[0]}
    with pytest.raises(InputError, match=message):
        sample.draw.draw(made(Draw, model=folder, out=tmp_path / "set", **given, **options))


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ("prompt,seed\na dog,-1\n", {}, r"line 2: `seed` must lie in \[0, 4,294,967,295\], got '-1'"),
        ("prompt,seed\na dog,1.5\n", {}, "line 2: `seed` must be a whole number, got '1.5'"),
        ("prompt,seed\na dog,x\n", {}, "line 2: `seed` must be a number, got 'x'"),
        ("prompt,guidance\na dog,nan\n", {}, "line 2: `guidance` must be a number"),
        ("prompt,guidance\na dog,-2\n", {}, "line 2: `guidance` must be at least 0"),
        ("prompt,seed\na dog,1\na dog,2\n", {}, "line 3: the prompt 'a dog' is there with another seed or guidance"),
        ("prompt,guidance\na dog,2\n", {"guidance_scale": 1.0}, "also give --guidance-scale"),
        ("prompt,seed\na dog,2\ntwo cats,1\n", {"method": "fair_diffusion"}, "the column `seed` needs prompts in turn"),
    ],
    ids=str,
)
def test_wrong_columns_are_errors(rows, options, message, folder, tmp_path):
    (tmp_path / "prompts.csv").write_text(rows)
    given = {"prompts": tmp_path / "prompts.csv", "guidance_scale": SCALE, "count": 2, "batch_size": 2, **options}
    with pytest.raises(InputError, match=message):
        sample.draw.draw(made(Draw, model=folder, out=tmp_path / "set", **given))


def test_which_concepts_are_found_is_printed(drawn, files, tmp_path, capsys):
    (tmp_path / "prompts.txt").write_text("a dog, two cats\na face\n")
    drawn(prompts=tmp_path / "prompts.txt", **fair(files, "fair_instruction"))
    shown = " ".join(capsys.readouterr().out.split())
    assert "1 of 2 prompts are given values: dog (group, size)" in shown
    assert "'a dog, two cats' mentions dog first, and is given its values; not those of cat" in shown


def test_a_fair_projection_is_one_and_makes_means_equal(rng):
    labels = np.array([(group, skin) for group in range(2) for skin in range(3)] * 4)
    embeddings = rng.normal(size=(24, 5, 9)) + labels[:, :1, None] * rng.normal(size=9) + (labels[:, 1:, None] == 2)
    found = FairProjection.fit(embeddings, labels, (2, 3))
    np.testing.assert_allclose(found.matrix @ found.matrix, found.matrix, atol=1e-12)
    np.testing.assert_allclose(found.matrix, found.matrix.T, atol=1e-12)
    assert np.linalg.matrix_rank(found.matrix) == 9 - 1 - 2  # a direction less for each value but one
    projected = found(embeddings, np.full((24, 2), -1)).mean(1)
    for column, count in ((0, 2), (1, 3)):
        means = [projected[labels[:, column] == value].mean(0) for value in range(count)]
        np.testing.assert_allclose(means, [projected.mean(0)] * count, atol=1e-6)
    # FairPCA's problem, solved as stated: of the largest variance in the null space of Z' X
    rows = embeddings.mean(1) - embeddings.mean((0, 1))
    indicators = np.concatenate([labels[:, :1] == 1, np.eye(3)[labels[:, 1]][:, 1:]], 1).astype(float)
    constraint = (indicators - indicators.mean(0)).T @ rows
    np.testing.assert_allclose(constraint @ found.matrix, 0, atol=1e-9)
    # the injection gives the mean of the value along what is taken out
    towards = found(embeddings, labels, 1.0).mean(1)
    for value in range(2):
        own = labels[:, 0] == value
        np.testing.assert_allclose(towards[own].mean(0), embeddings[own].mean((0, 1)), atol=1e-5)
