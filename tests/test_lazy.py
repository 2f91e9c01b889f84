"""Importing a lazy package imports nothing heavy; every public name resolves on use, as type checkers see it."""

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import jaxdiff
import jaxdiff.data
import jaxdiff.fairness
import jaxdiff.quality
import jaxdiff.quality.series
import jaxdiff.safety

PACKAGES = (jaxdiff, jaxdiff.data, jaxdiff.fairness, jaxdiff.quality, jaxdiff.quality.series, jaxdiff.safety)
HEAVY = ("flax", "jax", "numpy", "scipy")
COLD = f"import sys, {{}}; print([name for name in {HEAVY} if name in sys.modules])"


def seen_by_type_checkers(package) -> dict[str, str]:
    """Where each name under `if TYPE_CHECKING` is imported from; a module comes from the package itself."""
    (block,) = (node for node in ast.parse(inspect.getsource(package)).body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_the_package_imports_neither_jax_nor_numpy(package):
    command = [sys.executable, "-c", COLD.format(package.__name__)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_the_public_names(package):
    assert {*seen_by_type_checkers(package)} == {*package.__all__} - {"__version__"}


@pytest.mark.parametrize("package, name", [(package, name) for package in PACKAGES for name in seen_by_type_checkers(package)])
def test_a_public_name_is_what_type_checkers_see(package, name):
    module = importlib.import_module(seen_by_type_checkers(package)[name])
    expected = importlib.import_module(f"{package.__name__}.{name}") if module is package else getattr(module, name)
    assert getattr(package, name) is expected
    assert name in dir(package)


@pytest.mark.parametrize("package", PACKAGES)
def test_no_name_is_taken_by_a_module(package):
    """The import of a module sets its name in the package, whatever stood there."""
    modules = {found.name for found in pkgutil.iter_modules(package.__path__)}
    public = {name for name, place in seen_by_type_checkers(package).items() if place != package.__name__}
    assert not modules & public


@pytest.mark.parametrize("package", PACKAGES)
def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match=f"module '{package.__name__}' has no attribute 'sampler'"):
        package.sampler  # noqa: B018
    with pytest.raises(ImportError):
        exec(f"from {package.__name__} import sampler")
