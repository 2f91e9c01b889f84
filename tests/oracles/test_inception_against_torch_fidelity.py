"""The Inception network and the reader of its file, against torch-fidelity and torch."""

import importlib.util
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff import torch_file
from jaxdiff.quality import inception

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def fidelity():
    """torch-fidelity's modules of the network and the resize, without the package's own imports: those take a torchvision
    that was built for this very torch, which neither module needs."""
    spec = importlib.util.find_spec("torch_fidelity")
    if spec is None:
        pytest.skip("torch-fidelity is not installed")
    with pytest.MonkeyPatch.context() as patch:
        package = ModuleType("torch_fidelity")
        package.__path__ = list(spec.submodule_search_locations)
        patch.setitem(sys.modules, "torch_fidelity", package)
        network = importlib.import_module("torch_fidelity.feature_extractor_inceptionv3")
        resize = importlib.import_module("torch_fidelity.interpolate_compat_tensorflow")
        yield network.FeatureExtractorInceptionV3, resize.interpolate_bilinear_2d_like_tensorflow1x


@pytest.fixture(scope="module")
def file(fidelity, tmp_path_factory):
    """A state dictionary of torch-fidelity's network, drawn so that activations keep their size: He-normal kernels, and batch
    norms that shift and scale within a factor of two around it."""
    torch.manual_seed(0)
    extractor, _ = fidelity
    state = {}

    def drawn(self, *_, **__):
        for name, value in self.state_dict().items():
            if name.endswith("conv.weight"):
                state[name] = torch.randn_like(value) * (2 / value[0].numel()) ** 0.5
            elif name.endswith(("bn.weight", "running_var")):
                state[name] = torch.rand_like(value) + 0.5
            elif name.endswith(("bn.bias", "running_mean")):
                state[name] = 0.2 * torch.randn_like(value)
            else:
                state[name] = value.clone()

    path = tmp_path_factory.mktemp("weights") / "weights.pth"
    torch.save({}, path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_state_dict", drawn)
        extractor("drawn", ["2048"], feature_extractor_weights_path=str(path))
    torch.save(state, path)
    return path


def images(height: int, width: int, count: int = 3) -> np.ndarray:
    """Random images with coarse and fine parts."""
    rng = np.random.default_rng(height)
    coarse = rng.uniform(0, 200, (count, 1, 1, 3)) + 40 * np.sin(np.arange(height) / 3)[:, None, None]
    return np.clip(coarse + rng.normal(0, 40, (count, height, width, 3)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (64, 48), (299, 299), (500, 310)])
def test_the_resize_is_torch_fidelitys(height, width, fidelity):
    photos = images(height, width)
    theirs = fidelity[1](torch.from_numpy(photos).permute(0, 3, 1, 2).float(), size=(299, 299), align_corners=False)
    expected = ((theirs - 128) / 128).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(inception.prepare(jnp.asarray(photos)), expected, atol=2e-6)


@pytest.mark.parametrize("size", [32, 64])
def test_the_features_are_torch_fidelitys(size, fidelity, file):
    """In float64 there and float32 here, to 1e-5 of the largest feature."""
    theirs = fidelity[0](
        "oracle", ["2048"], feature_extractor_weights_path=str(file), feature_extractor_internal_dtype="float64"
    )
    photos = images(size, size)
    with torch.no_grad():
        (expected,) = theirs(torch.from_numpy(photos).permute(0, 3, 1, 2))
    got = inception.load(inception.convert(file), batch=2)(photos)
    expected = expected.numpy()
    assert (expected.std(axis=0) > 0).mean() > 0.5
    np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("in_a_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_a_file_of_torch_is_read_as_torch_reads_it(in_a_zip, tmp_path):
    block = torch.randn(2, 3, 4)
    written = {
        "views": [block, block[:, 1, ::2], block.permute(2, 0, 1), block[1:1]],
        "types": [block.to(t) for t in (torch.float64, torch.float16, torch.int8, torch.uint8, torch.int64, torch.bool)],
        "module": torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3)).state_dict(),
        "parameter": torch.nn.Parameter(block),
        "plain": (1, -2.5, "text", None, True),
    }
    torch.save(written, tmp_path / "file.pt", _use_new_zipfile_serialization=in_a_zip)
    read = torch_file.load(tmp_path / "file.pt")
    for name in ("views", "types"):
        for ours, theirs in zip(read[name], written[name], strict=True):
            np.testing.assert_array_equal(ours, theirs.numpy(), strict=True)
    assert read["module"].keys() == written["module"].keys()
    for name, theirs in written["module"].items():
        np.testing.assert_array_equal(read["module"][name], theirs.numpy(), strict=True)
    np.testing.assert_array_equal(read["parameter"], block.numpy())
    assert read["plain"] == written["plain"]
    torch.save(block.bfloat16(), tmp_path / "file.pt", _use_new_zipfile_serialization=in_a_zip)
    np.testing.assert_array_equal(torch_file.load(tmp_path / "file.pt").astype(np.float32), block.bfloat16().float().numpy())
