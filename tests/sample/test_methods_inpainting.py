"""`--method inpainting` and `sample region`: the library's two runs, what stays bit for bit, and the files of regions."""

from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxdiff import guidance
from jaxdiff import model as models
from jaxdiff.data import embedded
from jaxdiff.errors import InputError
from jaxdiff.fairness import label_map, label_region
from jaxdiff.inpainting import inpaint
from jaxdiff.sampleset import SampleSet
from jaxdiff.solvers import DDIM, sample
from sample.command_line import made
from sample.draw import draw
from sample.methods.inpainting import read_region
from sample.options import Draw
from sample.region import region
from sample.region_options import Region
from tests.sample.modifying import SIZE, STEPS, drawing_of, first, options_of, region_file

COUNT = 6


@pytest.fixture(scope="module")
def drawn(folder, tmp_path_factory):
    """A set: `drawn(method, **options)`."""

    def make(method="inpainting", **options):
        given = {"count": COUNT, "solver": "ddim", "steps": STEPS, "batch_size": COUNT, **options}
        given |= {"region": region_file()} if method == "inpainting" else {}
        (path,) = draw(made(Draw, model=folder, out=tmp_path_factory.mktemp("sets") / "set", method=method, **given))
        return SampleSet.open(path)

    return make


def images(samples) -> np.ndarray:
    return np.stack([samples.image(i) for i in range(len(samples))])


def test_a_set_is_the_two_runs_of_the_library(folder, drawn):
    """The region under guidance; the first run is without it, since there is no label to guide to."""
    model, own = models.load(folder), np.arange(COUNT) % 2
    rows = lambda labels: model.conditions.encode(np.asarray(labels, np.int32)[:, None])  # noqa: E731
    null, key, solver = rows(np.full(COUNT, -1)), jax.random.key(0), DDIM(STEPS)
    plain = sample(model.denoise, model.process, shape=model.shape, solver=solver, key=key, condition=null)
    guided = model.policy.guided(guidance.classifier_free(model.denoise, model.conditions.null, 3.0))
    inside = np.zeros((1, SIZE, SIZE, 1), bool)
    inside[:, SIZE // 2 :, : SIZE // 2] = True
    x = inpaint(
        guided, model.process, plain, inside, condition=rows(own), solver=solver, key=jax.random.fold_in(key, 1),
        strength=0.6,
    )  # fmt: skip
    samples = drawn(guidance_scale=3.0, inpaint_strength=0.6)
    np.testing.assert_array_equal(samples.labels[:, 0], own)
    assert np.abs(images(samples).astype(int) - model.space.decode(x)).max() <= 1
    about = samples.provenance
    assert about["inpaint_strength"] == 0.6 and about["region"]["pixels"] == SIZE**2 // 4
    assert about["region"]["file"] == "region.png" and about["evaluations"] == STEPS + 2 * 3


def test_outside_the_region_it_is_the_unlabelled_image_whatever_the_batch(drawn):
    samples = images(drawn(guidance_scale=2.0))
    outside = np.ones((SIZE, SIZE), bool)
    outside[SIZE // 2 :, : SIZE // 2] = False
    without = images(drawn("unconditional"))
    np.testing.assert_array_equal(samples[:, outside], without[:, outside])
    assert (samples[:, ~outside] != without[:, ~outside]).any((1, 2)).all()
    np.testing.assert_array_equal(images(drawn(guidance_scale=2.0, batch_size=4)), samples)


def saved(path, white):
    """A picture, white where `white` is set."""
    Image.fromarray(np.where(white, np.uint8(255), np.uint8(0))).save(path)
    return path


def test_a_region_is_scaled_to_the_model_and_keeps_every_white_pixel(tmp_path):
    white = np.zeros((8, 12), bool)
    white[3, 7] = True
    small = read_region(saved(tmp_path / "large.png", white), (4, 6, 3))
    assert np.argwhere(small).tolist() == [[1, 3]]
    large = read_region(tmp_path / "large.png", (16, 24, 1))
    assert large.sum() == 4 and large[6:8, 14:16].all()
    np.testing.assert_array_equal(read_region(tmp_path / "large.png", (8, 12, 3)), white)
    # neither size divides the other: no white pixel is lost
    assert read_region(tmp_path / "large.png", (6, 9, 3)).sum() >= 1
    Image.fromarray(np.dstack([white * 255] * 3 + [np.full(white.shape, 255)]).astype(np.uint8)).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read_region(tmp_path / "alpha.png", (8, 12, 3)), white)


def test_what_is_no_region_is_an_error(folder, tmp_path):
    with pytest.raises(InputError, match="needs --region FILE.png, which `jaxdiff sample region` finds"):
        made(Draw, model=folder, out=tmp_path / "set", method="inpainting")
    (tmp_path / "text.png").write_text("no picture")
    black = saved(tmp_path / "black.png", np.zeros((SIZE, SIZE), bool))
    wide = saved(tmp_path / "wide.png", np.ones((SIZE, 2 * SIZE), bool))
    for path, message in (
        (tmp_path / "absent.png", "cannot read --region"),
        (tmp_path / "text.png", "text.png"),
        (black, "has no white pixel"),
        (wide, f"is {SIZE}x{2 * SIZE} pixels, and the model's images are {SIZE}x{SIZE}"),
    ):
        with pytest.raises(InputError, match=message):
            drawing_of(options_of(folder, method="inpainting", region=path))
    with pytest.raises(InputError, match="for models of images, and this one has arrays of shape"):
        read_region(wide, (24, 5))
    with pytest.raises(InputError, match="--network-eps does not"):
        options_of(folder, method="inpainting", network_eps=True)


def test_the_region_of_a_model_is_that_of_its_map_and_can_be_drawn_with(folder, tmp_path):
    out = tmp_path / "region.png"
    given = {"model": folder, "out": out, "solver": "ddim", "steps": STEPS, "count": 4}
    found = region(Region(**given, share=0.6, margin=0))
    assert 0 < found.sum() < found.size
    with Image.open(out) as written, Image.open(tmp_path / "region.map.png") as picture:
        np.testing.assert_array_equal(np.asarray(written) == 255, found)
        assert picture.size[0] > 300
    model = models.load(folder)
    rows = lambda value: model.conditions.encode(np.full((4, 1), value, np.int32))  # noqa: E731
    plain = sample(
        model.denoise, model.process, shape=model.shape, solver=DDIM(STEPS), key=jax.random.key(0), condition=rows(-1)
    )
    key = jax.random.fold_in(jax.random.key(0), 2**31 - 1)
    expected = label_map(model.denoise, model.process, plain, [rows(0), rows(1)], key=key, at=0.3)
    np.testing.assert_array_equal(found, label_region(expected, share=0.6, margin=0))
    assert first(drawing_of(options_of(folder, method="inpainting", region=out))).shape == (2, SIZE, SIZE, 3)


def test_a_data_set_may_know_the_region(save_model, tmp_path):
    folder = save_model(tmp_path / "run", size=16)
    given = {"model": folder, "solver": "ddim", "steps": 2, "count": 1}
    found = region(Region(**given, out=tmp_path / "known.png", known="embedded"))
    np.testing.assert_array_equal(found, embedded.group_region(16))
    np.savez(tmp_path / "data.npz", images=np.zeros((4, 16, 16, 3), np.uint8), labels=np.arange(4) % 2)
    with pytest.raises(InputError, match="does not know where 'group' shows"):
        region(Region(**given, out=tmp_path / "other.png", known=str(tmp_path / "data.npz")))
    assert not (tmp_path / "other.png").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"out": Path("region.jpg")}, "--out must end in .png, got region.jpg"),
        ({"share": 1.0}, "--share"),
        ({"at": 0.0}, "--at"),
    ],
    ids=str,
)
def test_wrong_options_are_named(given, message):
    with pytest.raises(InputError, match=message):
        Region(**{"model": Path("run"), "out": Path("region.png"), **given})


def test_an_unconditional_model_has_no_label_to_find(unconditional, tmp_path):
    with pytest.raises(InputError, match="is unconditional"):
        region(Region(model=unconditional, out=tmp_path / "region.png"))
