"""A tiny model as it is trained here, and its folder."""

import pytest
import safetensors.numpy

from jaxdiff import interop
from jaxdiff.model import Model
from tests.interop.folders import CONFIG, GENDER, WEIGHTS, model_of, parts


@pytest.fixture(scope="session")
def trained() -> Model:
    """A model as it is trained here."""
    return model_of(CONFIG, (GENDER,))


@pytest.fixture
def folder(trained, tmp_path):
    """Its folder."""
    interop.save(tmp_path / "out", trained)
    return tmp_path / "out"


@pytest.fixture
def foreign(folder):
    """The folder as if others had written it."""
    state, _ = parts(folder)
    safetensors.numpy.save_file(state, folder / WEIGHTS, metadata={"format": "pt"})
    return folder
