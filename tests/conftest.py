"""Fixtures of all tests: one CPU backend, checked array shapes, and seeded randomness."""

import gc
import os
import shutil
import signal
import sys
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "agg")
if "PYTEST_XDIST_WORKER" not in os.environ:
    # of this run alone: its workers and the processes that they start compile a program once; the user's folder is left alone
    os.environ |= {
        "JAX_ENABLE_COMPILATION_CACHE": "1",
        "JAX_COMPILATION_CACHE_DIR": tempfile.mkdtemp(prefix="jaxdiff-tests-"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        # two threads of linear algebra wait for each other: those of small matrices then take 15 times as long
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
    }
    # the processes that a run starts read what the first has compiled, the package and its tests too
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

# JAX and NumPy read the environment once, when they are first imported: so nothing below may move above these lines.
from jaxdiff._console import device

device.prepare()

from tests import checked  # noqa: E402

# Before anything imports jaxdiff: each annotated shape and type in it is then checked at every call.
checked.install("jaxdiff")

from contextlib import contextmanager  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402

import hypothesis  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import pytest  # noqa: E402
from jax._src import compiler as compiler_options  # noqa: E402
from jax._src import pjit  # noqa: E402
from jax._src.interpreters import pxla  # noqa: E402

from jaxdiff import model as models  # noqa: E402
from jaxdiff._console.terminal import run  # noqa: E402
from jaxdiff.data import Attribute  # noqa: E402
from jaxdiff.image_classifier import ClassifierTraining  # noqa: E402
from jaxdiff.models.config import UNetConfig  # noqa: E402
from jaxdiff.models.network import unet  # noqa: E402
from jaxdiff.process import vp_cosine  # noqa: E402
from tests import lowering  # noqa: E402
from tests.processes import QUICK_FLAGS  # noqa: E402

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


def pytest_addoption(parser):
    parser.addoption("--as-users", action="store_true", help="compile tests marked `bits` as users do, as `make test-all` does")


LONG = {
    "test_attack_program.py", "test_evaluate_safety.py", "test_every_imported_model.py", "test_faults.py", "test_modifiers.py",
    "test_noised_classifier.py", "test_pages.py", "test_safe_denoiser.py", "test_sampling_over_hosts.py",
    "test_semantic_guidance.py", "test_series_program.py", "test_solver_orders.py", "test_text_to_image.py",
    "test_train_other_images.py", "test_train_program.py", "test_training_processes.py", "test_tutorials.py",
    "test_unet_condition.py",
}  # fmt: skip
"""Files that take over thirty seconds, and those that would otherwise come last and take over twenty."""


def _as_users(item) -> bool:
    """Whether a test is compiled as users do: parity with other libraries is that of the programs that users run."""
    if "oracles" in item.path.parts:
        return True
    by_option = item.config.getoption("--as-users") and item.get_closest_marker("bits")
    return bool(by_option or item.get_closest_marker("optimized"))


def pytest_collection_modifyitems(items):
    """Long files come first, so that no worker is left alone with one at the end; tests compiled as users do end a file."""
    slow = {item.path for item in items if item.get_closest_marker("slow") or item.path.name in LONG}
    files = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (item.path not in slow, files[item.path], _as_users(item)))


def pytest_configure():
    """A shell ignores SIGINT for what runs in its background, which the tests of interrupts would inherit."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_unconfigure():
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(os.environ["JAX_COMPILATION_CACHE_DIR"], ignore_errors=True)


def pytest_collection_finish():
    """What was imported stays, and what a test makes goes with its file: the collector looks seldom, and not at the first."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)


MAPS = 20_000
"""Memory maps of a process, of which the kernel allows 65,530; a program takes about five."""


def _maps() -> int:
    """How many memory maps this process has; without /proc, too many."""
    maps = Path("/proc/self/maps")
    return maps.read_bytes().count(b"\n") if maps.exists() else MAPS


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Files share what they compiled, until there is so much of it that the next file might run into the kernel's limit."""
    yield
    if _maps() >= MAPS:
        _forget()


def _forget() -> None:
    jax.clear_caches()
    lowering.forget()
    gc.collect()


def _forget_compiled() -> None:
    """Forgets what was compiled but not what was traced and lowered, which takes most of the time and would be the same."""
    for cache in (pjit._cpp_pjit_cache_fun_only, pjit._cpp_pjit_cache_explicit_attributes):
        cache.clear()
    type(pjit._cpp_pjit_cache_fun_only).clear_all()
    pjit._pjit_lower.cache_clear()
    pxla._cached_compilation.cache_clear()


def _compile_quickly(quick: bool) -> None:
    """How programs are compiled from now on; those that were compiled the other way are compiled again."""
    if quick != jax.config.read("jax_disable_most_optimizations"):
        _forget_compiled()
        jax.config.update("jax_disable_most_optimizations", quick)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Before any fixture: compiles in a third of the time, to slower programs; tests marked `optimized` as users do."""
    _compile_quickly(not _as_users(item))


def _options(*arguments, **named):
    """JAX's options of the compiler; with few optimisations also those flags of XLA, which save two thirds of the rest."""
    options = _get_compile_options(*arguments, **named)
    if jax.config.read("jax_disable_most_optimizations"):
        options.env_option_overrides = [*options.env_option_overrides, *QUICK_FLAGS.items()]
    return options


_get_compile_options, compiler_options.get_compile_options = compiler_options.get_compile_options, _options


lowering.share()
_compile_quickly(True)  # fixtures of modules and sessions, too


@pytest.fixture(scope="module")
def small_classifiers():
    """The evaluations of a file train narrower classifiers of two stages: its images are told apart by no more."""
    small = partial(ClassifierTraining, widths=(8, 16))
    with pytest.MonkeyPatch.context() as patch:
        for module in ("fairness", "safety"):
            patch.setattr(f"evaluate.{module}.ClassifierTraining", small)
        yield


@contextmanager
def _double():
    before = jax.config.read("jax_enable_x64")
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.fixture
def doubles():
    """float64, for closed forms."""
    with _double():
        yield


@pytest.fixture(scope="module")
def double_precision():
    """float64 for all of a file, so that what is measured is not rounding."""
    with _double():
        yield


@pytest.fixture(scope="session")
def save_model():
    """Writes an untrained model whose output is not zero, and returns its folder."""

    group = (Attribute("group", ("square", "round")),)

    def saved(folder: Path, *, attributes=group, process=None, size=8, channels=3, null_label=True, seed=5) -> Path:
        values = tuple(len(attribute.values) for attribute in attributes)
        config = UNetConfig(
            size=size, channels=channels, values=values, null_label=null_label, base=16, multipliers=(1,), blocks=0,
            attention=(), head_channels=16, dropout=0.0, stem=2,
        )  # fmt: skip
        made, rng = jax.eval_shape(partial(unet, config), jax.random.key(0)), np.random.default_rng(seed)
        weights = jax.tree.map(lambda w: jnp.asarray(0.2 * rng.standard_normal(w.shape, np.float32)), made.weights)
        network = type(made)(weights, made.structure)
        models.save(folder, models.image_model(config, network, process or vp_cosine(), "v", attributes, {"data": "embedded"}))
        return folder

    return saved
