"""`import jaxdiff` imports no heavy package; every public name is there when it is used, and is what type checkers see."""

import ast
import importlib
import inspect
import subprocess
import sys

import pytest

import jaxdiff

HEAVY = ("flax", "jax", "numpy", "scipy")
COLD = f"import sys, jaxdiff; print([name for name in {HEAVY} if name in sys.modules])"


def seen_by_type_checkers() -> dict[str, str]:
    """Where each name under `if TYPE_CHECKING` is imported from; a module comes from the package itself."""
    (block,) = (node for node in ast.parse(inspect.getsource(jaxdiff)).body if isinstance(node, ast.If))
    return {alias.name: node.module for node in block.body for alias in node.names}


def test_importing_the_package_imports_neither_jax_nor_numpy():
    done = subprocess.run([sys.executable, "-c", COLD], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_type_checkers_see_the_public_names():
    assert {*seen_by_type_checkers(), "__version__"} == set(jaxdiff.__all__)


@pytest.mark.parametrize("name", [name for name in jaxdiff.__all__ if name != "__version__"])
def test_a_public_name_is_what_type_checkers_see(name):
    module = importlib.import_module(seen_by_type_checkers()[name])
    expected = importlib.import_module(f"jaxdiff.{name}") if module is jaxdiff else getattr(module, name)
    assert getattr(jaxdiff, name) is expected
    assert name in dir(jaxdiff)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jaxdiff' has no attribute 'sampler'"):
        jaxdiff.sampler  # noqa: B018
    with pytest.raises(ImportError):
        from jaxdiff import sampler  # noqa: F401
