"""The house holds together: the import laws bite, and the wheel is the library, whole and alone."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import jaxdiff

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LAWS = {law["id"]: law["name"] for law in PROJECT["tool"]["importlinter"]["contracts"]}
PROGRAMS = ("train", "sample", "evaluate", "console", "demo")

# For each law: a file of the house, and an import that the law forbids it.
BREACHES = {
    "programs": ("sample/__init__.py", "import evaluate"),
    "library": ("jaxdiff/errors.py", "import console"),
    "console": ("console/__init__.py", "import train"),
    "demo": ("train/__init__.py", "import demo"),
    "solvers": ("jaxdiff/process/gaussian.py", "import jaxdiff.models"),
    "models": ("jaxdiff/models/__init__.py", "from jaxdiff import process"),
    "guidance": ("jaxdiff/guidance/__init__.py", "import jaxdiff.data"),
    "spaces": ("jaxdiff/spaces/pixels.py", "import jaxdiff.data"),
    "conditions": ("jaxdiff/conditions/labels.py", "import jaxdiff.process"),
    "data": ("jaxdiff/data/opening.py", "import jaxdiff.sampleset"),
    "readers": ("jaxdiff/data/source.py", "import jaxdiff.data.opening"),
    "dependencies": ("jaxdiff/fairness/__init__.py", "import matplotlib"),
}


def run(*command, cwd, timeout=60, **environment) -> subprocess.CompletedProcess:
    """Run a command without this checkout on Python's path; its output is in the failure where it fails a check."""
    base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=base | environment, timeout=timeout, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip


def broken_laws(house: Path) -> tuple[set[str], subprocess.CompletedProcess]:
    """The ids of the import laws that a checkout breaks, and import-linter's whole answer."""
    lint = Path(sys.executable).with_name("lint-imports")
    done = run(lint, "--no-cache", cwd=house, COLUMNS="200", NO_COLOR="1")
    verdicts = dict(re.findall(r"^(.+) (KEPT|BROKEN)", done.stdout, flags=re.MULTILINE))
    assert verdicts.keys() == set(LAWS.values()), done.stdout
    return {law for law, name in LAWS.items() if verdicts[name] == "BROKEN"}, done


def test_every_import_law_is_kept():
    broken, answer = broken_laws(ROOT)
    assert not broken, answer.stdout
    assert answer.returncode == 0


def test_every_import_law_has_a_breach():
    assert BREACHES.keys() == LAWS.keys()


@pytest.mark.parametrize("law", BREACHES)
def test_a_breach_breaks_its_import_law(law, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for package in ("jaxdiff", *PROGRAMS):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=lambda folder, names: [
            name for name in names if not (name.endswith(".py") or Path(folder, name).is_dir())
        ])  # fmt: skip
    file, statement = BREACHES[law]
    with (tmp_path / file).open("a") as source:
        source.write(f"\n{statement}\n")
    broken, answer = broken_laws(tmp_path)
    assert law in broken, answer.stdout
    assert answer.returncode != 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of this checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    done = run(sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stdout
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_is_the_library_whole_and_alone(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = set(archive.namelist())
    about = f"jaxdiff-{jaxdiff.__version__}.dist-info/"
    library = {path.relative_to(ROOT).as_posix() for path in (ROOT / "jaxdiff").rglob("*") if path.is_file()}
    library = {path for path in library if "__pycache__" not in path}
    assert {path for path in shipped if not path.startswith(about)} == library
    assert f"{about}licenses/LICENSE" in shipped


@pytest.mark.slow
def test_the_installed_wheel_imports_from_elsewhere_without_the_programs(wheel, tmp_path):
    python = tmp_path / "environment" / "bin" / "python"
    assert run(sys.executable, "-m", "venv", tmp_path / "environment", cwd=tmp_path).returncode == 0
    pins = ROOT / f"constraints-{sys.version_info.major}.{sys.version_info.minor}.txt"
    constrained = ("-c", pins) if pins.exists() else ()
    done = run(python, "-m", "pip", "install", "--quiet", *constrained, wheel, cwd=tmp_path, timeout=900)
    assert done.returncode == 0, done.stdout

    # -W error: a user's first import must not warn either.
    done = run(python, "-W", "error", "-c", "import jaxdiff; print(jaxdiff.__file__, jaxdiff.__version__)", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    file, version = done.stdout.split()
    assert Path(file).is_relative_to(tmp_path / "environment")
    assert version == jaxdiff.__version__

    present = f"from importlib.util import find_spec; print([name for name in {PROGRAMS} if find_spec(name)])"
    assert run(python, "-c", present, cwd=tmp_path).stdout.strip() == "[]"
