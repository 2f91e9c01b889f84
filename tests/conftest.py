"""What every test stands on: one CPU backend, checked array shapes, and seeded randomness."""

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")

# JAX reads the environment once, when it is first imported: so nothing below may move above these lines.
from console import device

device.prepare()

from jaxtyping import install_import_hook  # noqa: E402

# Before anything imports jaxdiff: each annotated shape and type in it is then checked at every call.
install_import_hook("jaxdiff", "beartype.beartype")

import hypothesis  # noqa: E402
import jax  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402

from console.terminal import run  # noqa: E402

# No deadline, since a first call compiles; the same examples on every run, so that a red build can be repeated.
hypothesis.settings.register_profile("jaxdiff", deadline=None, derandomize=True)
hypothesis.settings.load_profile("jaxdiff")


@pytest.fixture
def key() -> jax.Array:
    """A typed JAX key, the same in every test."""
    return jax.random.key(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """A NumPy generator, the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture
def call_program(monkeypatch, tmp_path):
    """Runs a program in an empty folder: `call_program(main, name, *arguments)` is its exit status, 0 where it returns."""

    def call(main, *arguments):
        monkeypatch.setattr(sys, "argv", [str(argument) for argument in arguments])
        monkeypatch.chdir(tmp_path)
        try:
            run(main)
        except SystemExit as exit:
            return exit.code
        return 0

    return call


@pytest.fixture(scope="module")
def quick_compiling():
    """Compiles in half the time, to slower programs: which computations are done stays the same."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
