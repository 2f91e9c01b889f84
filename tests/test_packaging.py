"""The import laws catch breaches, and the wheel is complete and self-contained."""

import email
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import jaxdiff
from tests.processes import LIMIT, QUICK

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAWS = {law["id"]: law["name"] for law in PROJECT["tool"]["importlinter"]["contracts"]}
PROGRAMS = ("train", "sample", "evaluate")

# For each law: a file of the house, and an import that the law forbids it.
BREACHES = {
    "programs": ("sample/__init__.py", "import evaluate"),
    "library": ("jaxdiff/errors.py", "import sample"),
    "console": ("jaxdiff/errors.py", "import jaxdiff._console.lock"),
    "solvers": ("jaxdiff/solvers/ddim.py", "import jaxdiff.models"),
    "models": ("jaxdiff/models/__init__.py", "from jaxdiff import process"),
    "guidance": ("jaxdiff/guidance/__init__.py", "import jaxdiff.data"),
    "spaces": ("jaxdiff/spaces/pixels.py", "import jaxdiff.data"),
    "conditions": ("jaxdiff/conditions/labels.py", "import jaxdiff.process"),
    "data": ("jaxdiff/data/opening.py", "import jaxdiff.sampleset"),
    "dependencies": ("jaxdiff/fairness/__init__.py", "import matplotlib"),
    "cycles": ("jaxdiff/quality/__init__.py", "import jaxdiff.fairness"),
}


def run(*command, cwd, **environment) -> subprocess.CompletedProcess:
    """Run a command without this checkout on Python's path; its output is in the failure where it fails a check."""
    base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=base | environment, timeout=LIMIT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


def broken_laws(house: Path) -> tuple[set[str], subprocess.CompletedProcess]:
    """The ids of the import laws that a checkout breaks, and import-linter's whole answer."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = run(lint, "--no-cache", cwd=house, COLUMNS="200", NO_COLOR="1")
    outcomes = dict(re.findall(r"^(.+) (KEPT|BROKEN)", done.stdout, flags=re.MULTILINE))
    assert outcomes.keys() == set(LAWS.values()), done.stdout
    return {law for law, name in LAWS.items() if outcomes[name] == "BROKEN"}, done


def test_every_import_law_is_kept():
    broken, answer = broken_laws(ROOT)
    assert not broken, answer.stdout
    assert answer.returncode == 0


def test_every_import_law_has_a_breach():
    assert BREACHES.keys() == LAWS.keys()


@pytest.mark.parametrize("law", BREACHES)
def test_a_breach_breaks_its_import_law(law, tmp_path):
    broken, answer = broken_laws(changed(tmp_path, *BREACHES[law]))
    assert law in broken, answer.stdout
    assert answer.returncode != 0


def test_the_console_knows_no_program(tmp_path):
    broken, answer = broken_laws(changed(tmp_path, "jaxdiff/_console/lock.py", "import jaxdiff._programs.demo.options"))
    assert "console" in broken, answer.stdout


def changed(folder: Path, file: str, statement: str) -> Path:
    """A copy of the packages with a statement more at the end of a file."""
    shutil.copy(ROOT / "pyproject.toml", folder)
    for package in ("jaxdiff", *PROGRAMS):
        shutil.copytree(ROOT / package, folder / package, ignore=lambda inside, names: [
            name for name in names if not (name.endswith(".py") or Path(inside, name).is_dir())
        ])  # fmt: skip
    with (folder / file).open("a") as source:
        source.write(f"\n{statement}\n")
    return folder


def built(folder: Path, source: Path) -> Path:
    """The wheel of a checkout or of a source distribution."""
    command = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, source)
    done = run(*command, cwd=folder)
    assert done.returncode == 0, done.stdout
    (wheel,) = folder.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, bytes]:
    """The files of a wheel by name."""
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    return built(tmp_path_factory.mktemp("wheel"), ROOT)


def files(folder: str) -> set[str]:
    """The files of a folder of the checkout, but not what Python caches there."""
    found = (path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*") if path.is_file())
    return {path for path in found if "__pycache__" not in path}


def test_the_wheel_holds_the_library_the_programs_and_the_models(wheel):
    shipped = contents(wheel)
    about = f"jaxdiff-{jaxdiff.__version__}.dist-info/"
    programs = {f"jaxdiff/_programs/{path}" for name in PROGRAMS for path in files(name)}
    models = {f"jaxdiff/{path}": path for path in files("checkpoints")}
    assert {path for path in shipped if not path.startswith(about)} == files("jaxdiff") | programs | set(models)
    assert {path: shipped[path] for path in models} == {path: (ROOT / own).read_bytes() for path, own in models.items()}
    assert f"{about}licenses/LICENSE" in shipped
    assert {"jaxdiff/py.typed", "jaxdiff/_programs/evaluate/page_template.html"} <= shipped.keys()


def test_the_wheel_describes_itself(wheel):
    about = f"jaxdiff-{jaxdiff.__version__}.dist-info/"
    described = email.message_from_bytes(contents(wheel)[f"{about}METADATA"])
    assert described["Summary"] and described["Keywords"] and described.get_all("Project-URL")
    assert described["License-Expression"] == "Apache-2.0" and described["Requires-Python"] == ">=3.11"
    assert described["Description-Content-Type"] == "text/markdown" and described.get_payload().strip().startswith("#")
    kinds = {line.partition(" :: ")[0] for line in described.get_all("Classifier")}
    assert {"Development Status", "Intended Audience", "Programming Language", "Topic", "Typing"} <= kinds


@pytest.mark.slow
def test_the_source_distribution_builds_the_same_wheel(wheel, tmp_path):
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path / "source", cwd=ROOT)
    assert done.returncode == 0, done.stdout
    (source,) = (tmp_path / "source").glob("*.tar.gz")
    assert contents(built(tmp_path, source)) == contents(wheel)


def required(wheel: Path, *extras: str) -> list[Distribution]:
    """What the wheel requires, and what that requires in turn, as installed here; each of the versions that are asked for."""
    metadata = contents(wheel)[f"jaxdiff-{jaxdiff.__version__}.dist-info/METADATA"]
    asked = [(line, extras) for line in email.message_from_bytes(metadata).get_all("Requires-Dist")]
    found: dict[tuple[str, tuple[str, ...]], Distribution] = {}
    while asked:
        line, extras = asked.pop()
        each = Requirement(line)
        if each.marker and not any(each.marker.evaluate({"extra": extra}) for extra in extras or ("",)):
            continue
        key = canonicalize_name(each.name), tuple(sorted(each.extras))
        if key not in found:
            found[key] = distribution(each.name)
            asked += [(inner, key[1]) for inner in found[key].requires or ()]
        assert each.specifier.contains(found[key].version, prereleases=True), (line, found[key].version)
    return list(found.values())


def link(packages: Path, distributions: list[Distribution]) -> None:
    """Puts distributions into an environment's folder of packages, without a copy."""
    for each in distributions:
        names = {file.parts[0] for file in each.files or ()} - {"..", "__pycache__"}
        for name in names:
            if not (packages / name).exists():
                (packages / name).symlink_to(each.locate_file(name))


def test_the_installed_wheel_runs_anywhere(wheel, tmp_path):
    """In an empty environment and an empty folder: imported, called without the extra, and with it drawing from its model.

    What the wheel requires is linked from this environment, which takes a fifth of the time of installing it.
    """
    environment = tmp_path / "environment"
    binaries = environment / "bin"
    assert run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=tmp_path).returncode == 0
    install = ("--python", binaries / "python", "install", "--quiet", "--no-compile", "--no-deps", wheel)
    done = run(sys.executable, "-m", "pip", *install, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (packages,) = environment.glob("lib/python*/site-packages")
    link(packages, required(wheel))

    # -W error: a user's first import must not warn either.
    shown = "import jaxdiff; jaxdiff.load; print(jaxdiff.__file__, jaxdiff.__version__)"
    done = run(binaries / "python", "-W", "error", "-c", shown, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    file, version = done.stdout.split()
    assert Path(file).is_relative_to(environment)
    assert version == jaxdiff.__version__
    present = "from importlib.util import find_spec; print([name for name in {} if find_spec(name)])"
    taken = run(binaries / "python", "-c", present.format((*PROGRAMS, "console", "demo", "checkpoints")), cwd=tmp_path)
    assert taken.stdout.strip() == "[]"

    done = run(binaries / "jaxdiff", "sample", "draw", "--help", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout.count("\n") == 1 and "pip install 'jaxdiff[programs]'" in done.stdout
    link(packages, required(wheel, "programs"))
    drawing = ("draw", "--model", "embedded", "--count", "2", "--steps", "2", "--out", "out/set")
    done = run(binaries / "jaxdiff", "sample", *drawing, cwd=tmp_path, JAX_PLATFORMS="cpu", **QUICK)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "out" / "set" / "samples.json").exists()
