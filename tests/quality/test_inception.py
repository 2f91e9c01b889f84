"""The extractors: the Inception network of the Fréchet distance, its resize, its pools and its files; and the classifier."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors
import safetensors.numpy
from flax import nnx
from PIL import Image
from scipy import ndimage

from jaxdiff.batches import in_batches
from jaxdiff.errors import InputError
from jaxdiff.fairness import ImageClassifier
from jaxdiff.finished import checksum
from jaxdiff.models import resnet
from jaxdiff.quality import inception
from jaxdiff.quality.extractors import ClassifierExtractor, Extractor
from tests.interop.test_torch_file import saved


def random_state(seed: int) -> dict[str, np.ndarray]:
    """A state dictionary of PyTorch's network; He-normal behind its batch norms, whose shifts cancel."""
    rng, state = np.random.default_rng(seed), {}
    for name, (height, width, inputs, outputs) in inception.shapes().items():
        kernel = rng.standard_normal((outputs, inputs, height, width), np.float32)
        scale, mean, variance = (rng.uniform(0.5, 1.5, outputs).astype(np.float32) for _ in range(3))
        state[f"{name}.conv.weight"] = kernel * np.float32(np.sqrt(2 / (inputs * height * width)))
        state[f"{name}.bn.weight"], state[f"{name}.bn.running_var"] = scale * np.sqrt(variance), variance
        state[f"{name}.bn.running_mean"] = mean
        state[f"{name}.bn.bias"] = (mean * scale / np.sqrt(1 + 1e-3 / variance)).astype(np.float32)
        state[f"{name}.bn.num_batches_tracked"] = np.array(0)
    return state | {"fc.weight": np.zeros((1008, 2048), np.float32), "fc.bias": np.zeros(1008, np.float32)}


@pytest.fixture(scope="module")
def state():
    """A random state dictionary; not to be changed."""
    return random_state(0)


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    """The converted file of that state."""
    folder = tmp_path_factory.mktemp("weights")
    return inception.convert(saved(folder / "weights.pth", state), folder / "converted.safetensors")


@pytest.fixture(scope="module")
def network(file):
    """That network, two images at a time."""
    return inception.load(file, batch=2)


def images(seed: int, *shape: int) -> np.ndarray:
    """Random uint8 images."""
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


# The resize -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width"), [(32, 48), (299, 64), (7, 500), (1, 2), (598, 26)])
def test_the_resize_is_linear_interpolation_at_the_pixels_of_tensorflow_1(height, width):
    """By SciPy's interpolation, at o * inputs / 299, with the last pixel repeated; to what the rounding of these positions to
    float32 moves, times the contrast."""
    image = images(1, 1, height, width, 3)
    ours = np.asarray(inception.prepare(jnp.asarray(image)))
    points = np.meshgrid(np.arange(299) * height / 299, np.arange(299) * width / 299, indexing="ij")
    rounding = (height + width) * 2.0**-23 * 255 / 128 + 1e-6
    for channel in range(3):
        expected = ndimage.map_coordinates(image[0, ..., channel].astype(np.float64), points, order=1, mode="nearest")
        np.testing.assert_allclose(ours[0, ..., channel], (expected - 128) / 128, atol=rounding)


def test_a_ramp_is_resized_to_its_closed_form_and_a_reduction_by_two_takes_every_second_pixel():
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[:, None, None], (1, 64, 64, 3))
    rows = np.asarray(inception.prepare(jnp.asarray(ramp)))[0, :, 5, 1]
    np.testing.assert_allclose(rows, (np.minimum(np.arange(299) * 64 / 299, 63) - 128) / 128, atol=1e-6)
    large = images(2, 1, 598, 598, 3)
    np.testing.assert_array_equal(inception.prepare(jnp.asarray(large)), (large[:, ::2, ::2].astype(np.float32) - 128) / 128)


SIZES = [(32, 48), (299, 64), (7, 500), (1, 2), (598, 26)]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_resize_of_clean_fid_is_that_of_pillow(height, width):
    """Bicubic in float32, clipped; to what float32 rounds of 255 levels."""
    image = images(1, 1, height, width, 3)
    ours = np.asarray(inception.prepare(jnp.asarray(image), "clean-fid"))
    for channel in range(3):
        resized = Image.fromarray(image[0, ..., channel].astype(np.float32)).resize((299, 299), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(ours[0, ..., channel], (np.clip(resized, 0, 255) - 128) / 128, atol=2e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_the_resize_of_pytorch_fid_is_linear_interpolation_between_the_centres_of_pixels(height, width):
    """By SciPy's interpolation, at (o + 1/2) inputs / 299 - 1/2, on levels from -1 to 1."""
    image = images(1, 1, height, width, 3)
    ours = np.asarray(inception.prepare(jnp.asarray(image), "pytorch-fid"))
    points = np.meshgrid(*((np.arange(299) + 0.5) * size / 299 - 0.5 for size in (height, width)), indexing="ij")
    rounding = (height + width) * 2.0**-23 * 2 + 1e-6
    for channel in range(3):
        expected = ndimage.map_coordinates(image[0, ..., channel].astype(np.float64), points, order=1, mode="nearest")
        np.testing.assert_allclose(ours[0, ..., channel], expected / 127.5 - 1, atol=rounding)


def test_a_network_is_described_with_its_resize(file, network):
    clean = inception.load(file, resize="clean-fid")
    assert clean.describe()["resize"] == "clean-fid bicubic to 299x299 with antialiasing, (x - 128) / 128"
    assert "TensorFlow 1 bilinear" in network.describe()["resize"]
    with pytest.raises(InputError, match="`resize` must be one of tensorflow, pytorch-fid, clean-fid, got 'nearest'"):
        dataclasses.replace(network, resize="nearest")


# The network ----------------------------------------------------------------------------------------------------------------


def test_the_convolutions_have_as_many_weights_as_the_published_network():
    """Its 21,785,568 parameters up to the last mean (torchvision's 23,834,568 are these and 2048 x 1000 + 1000), of which
    each channel has the scale and shift of a batch norm; and 23,850,960 with the last layer of 2048 x 1008 + 1008."""
    shapes = inception.shapes()
    kernels, channels = sum(np.prod(shape) for shape in shapes.values()), sum(shape[-1] for shape in shapes.values())
    assert len(shapes) == 94
    assert kernels + 2 * channels == 21_785_568 == 23_850_960 - 2048 * 1008 - 1008


def test_the_factorised_convolutions_lie_as_in_the_published_files():
    """Kernels (height, width, inputs, outputs): one of seven runs along the row, then along the column; the double ones the
    other way round."""
    shapes = inception.shapes()
    for block, width in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        assert shapes[f"{block}.branch7x7_2"] == (1, 7, width, width)
        assert shapes[f"{block}.branch7x7_3"] == (7, 1, width, 192)
        assert [shapes[f"{block}.branch7x7dbl_{layer}"][:2] for layer in range(1, 6)] == [(1, 1), *[(7, 1), (1, 7)] * 2]
    assert shapes["Mixed_7a.branch7x7x3_2"] == (1, 7, 192, 192) and shapes["Mixed_7a.branch7x7x3_3"] == (7, 1, 192, 192)
    for block in ("Mixed_7b", "Mixed_7c"):
        for branch in ("branch3x3_2", "branch3x3dbl_3"):
            assert shapes[f"{block}.{branch}a"] == (1, 3, 384, 384) and shapes[f"{block}.{branch}b"] == (3, 1, 384, 384)


def test_the_layers_see_the_grids_and_channels_of_the_published_network(monkeypatch):
    """Table 1 of Szegedy et al.; observed where the network convolves."""
    seen, names = {}, []
    convolve = jax.lax.conv_general_dilated

    def observed(x, *arguments, **settings):
        seen[names[-1]] = (x.shape[1], x.shape[-1])
        return convolve(x, *arguments, **settings)

    def convolutions(name, shape):
        names.append(name)
        return {"kernel": jnp.zeros(shape), "bias": jnp.zeros(shape[-1])}

    monkeypatch.setattr(jax.lax, "conv_general_dilated", observed)
    out = jax.eval_shape(lambda x: inception.features(x, convolutions), jax.ShapeDtypeStruct((3, 299, 299, 3), jnp.float32))
    published = {
        "Conv2d_1a_3x3": (299, 3), "Conv2d_2a_3x3": (149, 32), "Conv2d_2b_3x3": (147, 32), "Conv2d_3b_1x1": (73, 64),
        "Conv2d_4a_3x3": (73, 80), "Mixed_5b.branch1x1": (35, 192), "Mixed_5c.branch1x1": (35, 256),
        "Mixed_5d.branch1x1": (35, 288), "Mixed_6a.branch3x3": (35, 288), "Mixed_6b.branch1x1": (17, 768),
        "Mixed_6e.branch7x7dbl_5": (17, 192), "Mixed_7a.branch3x3_1": (17, 768), "Mixed_7b.branch1x1": (8, 1280),
        "Mixed_7c.branch_pool": (8, 2048),
    }  # fmt: skip
    assert {name: seen[name] for name in published} == published
    assert out.shape == (3, 2048)


def pooled(x: np.ndarray, pool, *, stride: int = 1, padding: int = 1) -> np.ndarray:
    """A pool over 3x3 pixels by the definition: over those that there are."""
    windows = [
        [slice(max(start, 0), start + 3) for start in range(-padding, size + padding - 2, stride)] for size in x.shape[1:3]
    ]
    return np.stack([np.stack([pool(x[:, i, j], axis=(1, 2)) for j in windows[1]], 1) for i in windows[0]], 1)


def test_the_pools_leave_out_the_padding_and_the_last_one_takes_the_maximum(monkeypatch):
    """Every pool of the blocks, by their inputs and outputs, in a network whose convolutions give random numbers."""
    rng, before, behind, last = np.random.default_rng(3), {}, {}, []

    def random(convolutions, x, *layers):
        for layer in layers:
            convolutions(layer.name, (*layer.kernel, 1, layer.width))
            (behind if last[-1].endswith("branch_pool") else before).setdefault(last[-1].split(".")[0], np.asarray(x))
            height, width = (size if layer.padding == "SAME" else (size - 3) // layer.stride + 1 for size in x.shape[1:3])
            x = jnp.asarray(rng.standard_normal((1, height, width, layer.width), np.float32))
        return x

    monkeypatch.setattr(inception, "_chain", random)
    inception.features(jnp.zeros((1, 139, 155, 3)), lambda name, _: last.append(name))
    means = ["Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7b"]
    assert sorted(behind) == sorted([*means, "Mixed_7c"])
    assert min(before["Mixed_7c"].shape[1:3]) > 2
    for block in means:
        np.testing.assert_allclose(behind[block], pooled(before[block], np.mean), atol=1e-6)
    np.testing.assert_array_equal(behind["Mixed_7c"], pooled(before["Mixed_7c"], np.max))
    for block, following, channels in (("Mixed_6a", "Mixed_6b", 288), ("Mixed_7a", "Mixed_7b", 768)):
        halved = pooled(before[block], np.max, stride=2, padding=0)
        np.testing.assert_array_equal(before[following][..., -channels:], halved)


def test_an_images_features_do_not_depend_on_its_batch_and_are_those_of_its_distance_from_grey(network):
    """With biases that cancel, the network is homogeneous: an image twice as far from 128 has twice the features. Every
    image is here in the first and in the second place, beside others and beside what fills up the last batch."""
    step = images(4, 2, 9, 9, 3) // 5
    three = np.stack([128 + step[0], 128 + 2 * step[0], 255 - 2 * step[1]])
    forward, backward = network(three), network(three[::-1])
    assert forward.shape == (3, network.dimension) and forward.dtype == np.float32
    assert (forward.std(axis=0) > 0).mean() > 0.5 and forward.max() < 1e3
    scale = forward.max()
    np.testing.assert_allclose(backward[::-1], forward, atol=1e-5 * scale)
    np.testing.assert_allclose(forward[1], 2 * forward[0], atol=1e-5 * scale)
    assert np.abs(forward[2] - forward[1]).max() > 1e-2 * scale
    np.testing.assert_allclose(network(np.full((1, 9, 9, 3), 128, np.uint8)), 0, atol=1e-5 * scale)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8])
def test_batches_are_of_one_size_and_every_image_is_computed_once_and_in_order(count):
    photos, seen = images(7, count, 2, 3, 3), []

    def sums(batch):
        seen.append(len(batch))
        return jnp.asarray(batch, jnp.float32).sum((1, 2))

    np.testing.assert_array_equal(in_batches(sums, photos, 4), photos.sum((1, 2), dtype=np.float32))
    assert seen == [4] * -(-count // 4)


# Files ----------------------------------------------------------------------------------------------------------------------


def test_a_folded_convolution_is_the_convolution_and_its_batch_norm(state, network):
    rng = np.random.default_rng(5)
    for name in ("Conv2d_1a_3x3", "Mixed_6c.branch7x7_2", "Mixed_7c.branch3x3dbl_3b"):
        kernel, scale, shift, mean, variance = (
            state[f"{name}.{part}"].astype(np.float64)
            for part in ("conv.weight", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")
        )
        patch = rng.normal(size=kernel.shape[1:])
        expected = (np.einsum("oihw,ihw->o", kernel, patch) - mean) / np.sqrt(variance + 1e-3) * scale + shift + 0.125
        folded = network.weights[name]
        got = np.einsum("hwio,ihw->o", np.asarray(folded["kernel"], np.float64), patch) + np.asarray(folded["bias"]) + 0.125
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6)


def test_a_converted_file_is_the_pytorch_file_and_its_description_is_ready_for_json(file, network):
    direct = inception.load(file.with_name("weights.pth"))
    jax.tree.map(np.testing.assert_array_equal, direct.weights, network.weights)
    described = json.loads(json.dumps(network.describe()))
    assert described == direct.describe() and described.keys() == {"name", "dimension", "checksum", "source", "resize"}
    assert checksum(network.weights) == described["checksum"]
    assert [each.name for each in file.parent.iterdir() if "converted" in each.name] == ["converted.safetensors"]


def test_a_state_of_another_network_is_refused_with_its_keys(state, tmp_path):
    changed = dict(state)
    del changed["Mixed_5b.branch1x1.bn.running_var"]
    changed["AuxLogits.fc.weight"] = changed.pop("Mixed_7c.branch_pool.conv.weight")
    changed["Mixed_6a.branch3x3.conv.weight"] = state["Mixed_6a.branch3x3.conv.weight"][..., :1].copy()
    changed["Conv2d_1a_3x3.bn.bias"] = state["Conv2d_1a_3x3.bn.bias"].astype(np.float64)
    with pytest.raises(InputError) as caught:
        inception.load(saved(tmp_path / "other.pth", changed))
    for part in (
        "lacks 2: Mixed_5b.branch1x1.bn.running_var, Mixed_7c.branch_pool.conv.weight;",
        "unexpected 1: AuxLogits.fc.weight;",
        "type 2: Conv2d_1a_3x3.bn.bias float64 (32,) instead of float32 (32,), ",
        "Mixed_6a.branch3x3.conv.weight float32 (384, 288, 3, 1) instead of float32 (384, 288, 3, 3)",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="lacks 470: Conv2d_1a_3x3.bn.bias, .*, ..."):
        inception.load(saved(tmp_path / "other.pth", {}))


def test_what_is_no_weights_file_is_refused(file, tmp_path):
    for name in ("absent.safetensors", "absent.pth"):
        with pytest.raises(InputError, match=f"{name} does not exist"):
            inception.load(tmp_path / name)
    with pytest.raises(InputError, match="must end in .safetensors"):
        inception.convert(file, tmp_path / "weights.npz")
    path, whole = tmp_path / "weights.safetensors", file.read_bytes()
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match="damaged: .*incomplete"):
        inception.load(path)
    path.write_bytes(whole[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(InputError, match="does not match its checksum"):
        inception.load(path)
    arrays = safetensors.numpy.load(whole)
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(InputError, match="must be of format .* got None"):
        inception.load(path)
    arrays.pop("Mixed_5b.branch1x1/bias")
    with safetensors.safe_open(file, framework="numpy") as opened:
        safetensors.numpy.save_file(arrays, path, metadata=opened.metadata())
    with pytest.raises(InputError, match="lacks 1: Mixed_5b.branch1x1/bias"):
        inception.load(path)


def test_a_batch_of_nothing_is_refused(network):
    with pytest.raises(InputError, match="`batch` must be at least 1, got 0"):
        dataclasses.replace(network, batch=0)
    for extractor in (network, ClassifierExtractor(ImageClassifier(*resnet.create(2, seed=0)))):
        with pytest.raises(InputError, match="at least one image"):
            extractor(np.zeros((0, 32, 32, 3), np.uint8))


# The classifier -------------------------------------------------------------------------------------------------------------


def test_the_classifiers_features_are_its_penultimate_layer():
    classifier = ImageClassifier(*resnet.create(3, seed=1, widths=(8, 24)))
    extractor: Extractor = ClassifierExtractor(classifier)
    photos = images(6, 3, 16, 16, 3)
    expected = nnx.merge(classifier.graph, classifier.state).features(jnp.asarray(photos, jnp.float32) / 127.5 - 1)
    got = extractor(photos)
    assert got.shape == (3, extractor.dimension) == (3, 24)
    np.testing.assert_allclose(got, expected, atol=1e-5)
    assert expected.std() > 0.01


def test_different_weights_have_different_checksums():
    describe = lambda seed: ClassifierExtractor(ImageClassifier(*resnet.create(2, seed=seed))).describe()  # noqa: E731
    assert json.loads(json.dumps(describe(0))) == describe(0)
    assert describe(0)["checksum"] != describe(1)["checksum"]
    a = {"x": np.arange(4.0, dtype=np.float32)}
    others = [{"y": a["x"]}, {"x": a["x"].reshape(2, 2)}, {"x": a["x"].view(np.int32)}, {"x": np.nextafter(a["x"], 9)}]
    assert len({checksum(each) for each in (a, *others)}) == 5
    assert checksum(a) == checksum({"x": jnp.asarray(a["x"])})
