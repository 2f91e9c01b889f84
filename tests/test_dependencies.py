"""The dependencies are those that the documentation lists, and tensorflow-datasets is needed by its own data alone."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PAGE = (ROOT / "docs/start/dependencies.md").read_text()
PINNED = dict(line.split("==") for line in (ROOT / "constraints-3.11.txt").read_text().splitlines() if "==" in line)

BLOCKED = """
import importlib, sys
from pathlib import Path

class Absent:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Absent())
for file in sorted(Path("jaxdiff").rglob("*.py")):
    module = ".".join(file.with_suffix("").parts).removesuffix(".__init__")
    if "_programs" not in file.parts and "builders" not in file.parts and module != "jaxdiff.data.tfds":
        importlib.import_module(module)
from jaxdiff.data import open_data
from jaxdiff.errors import InputError
try:
    open_data("tfds:mnist")
except InputError as error:
    print(error)
"""


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def rows(title: str) -> dict[str, str]:
    """The packages of the table under a title, and their licences."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    found = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ")][2:]
    return {normal(row[0]): row[1] for row in found}


def required(name: str, found: set[str]) -> set[str]:
    """A distribution and all that it requires, of those that are installed."""
    if normal(name) in found:
        return found
    try:
        distribution = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return found
    found.add(normal(name))
    for line in distribution.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            required(requirement.name, found)
    return found


def names(requirements: list[str]) -> set[str]:
    return {normal(Requirement(line).name) for line in requirements}


def test_every_direct_dependency_is_listed():
    assert rows("What the library imports").keys() == names(PROJECT["dependencies"])
    assert rows("What the programs import too").keys() == names(PROJECT["optional-dependencies"]["programs"])


def test_what_only_tensorflow_datasets_brings_is_listed():
    tfds = "tensorflow-datasets"
    if importlib.metadata.version(tfds) != PINNED[tfds]:
        pytest.skip("the page lists what the pinned version brings")
    others = set()
    for name in (names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["programs"])) - {tfds}:
        required(name, others)
    assert rows("What only tensorflow-datasets brings").keys() == required(tfds, set()) - others - {tfds}


def test_the_library_works_without_tensorflow_datasets_and_what_it_brings():
    absent = {
        "tensorflow_datasets", "pyarrow", "wrapt", "charset_normalizer", "tree", "urllib3", "simple_parsing", "idna", "attr",
        "attrs", "certifi", "requests", "tqdm", "tensorflow_metadata", "promise", "toml", "six", "termcolor", "immutabledict",
    }  # fmt: skip
    code = BLOCKED.format(names=absent)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("tfds:mnist needs tensorflow-datasets") and "pip install tensorflow-datasets" in done.stdout
