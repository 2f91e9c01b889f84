"""Tiny untrained models that the tests of methods and modifiers draw from."""

import os

import pytest

from tests.sample.modifying import SIZE


@pytest.fixture(scope="module")
def folder(save_model, tmp_path_factory):
    """A model of one attribute, `group`."""
    return save_model(tmp_path_factory.mktemp("models") / "run", size=SIZE)


@pytest.fixture(scope="module")
def guide(save_model, tmp_path_factory):
    """A weaker model: the same network with other weights."""
    return save_model(tmp_path_factory.mktemp("models") / "guide", size=SIZE, seed=6)


@pytest.fixture(scope="module")
def unconditional(save_model, tmp_path_factory):
    """A model of no attributes."""
    return save_model(tmp_path_factory.mktemp("models") / "plain", size=SIZE, attributes=())


@pytest.fixture(scope="module")
def own_cache(tmp_path_factory):
    """A cache of unsafe images that is not the user's: one for all files and workers, since finding the images takes long."""
    folder = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str((folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "cache"))
        yield
