"""The reduced demo runs end to end, and writes a report, a transition time and pictures that are not empty."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.processes import LIMIT, QUICK

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    """The folder that the reduced demo wrote."""
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run(
        [sys.executable, "-m", "jaxdiff", "demo", "--reduced", "--out", folder], cwd=ROOT, env={**os.environ, **QUICK},
        timeout=LIMIT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    return folder


def numbers(value) -> list[float]:
    """Every number in a JSON value, at any depth."""
    if isinstance(value, dict | list):
        return [number for inner in (value.values() if isinstance(value, dict) else value) for number in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.slow
def test_the_demo_reports_finite_numbers_and_its_own_command(out):
    report = json.loads((out / "report" / "report.json").read_text())
    assert report["command"] == ["jaxdiff", "demo", "--reduced", "--out", str(out)]
    assert numbers(report)
    assert all(map(math.isfinite, numbers(report)))


@pytest.mark.slow
def test_the_demo_keeps_its_transition_time(out):
    (found,) = out.rglob("tau*.json")
    assert 0 <= json.loads(found.read_text())["tau"] <= 1


@pytest.mark.slow
def test_the_demos_pictures_show_something(out):
    pictures = sorted(out.glob("*.png"))
    assert pictures
    for picture in pictures:
        with Image.open(picture) as image:
            pixels = np.asarray(image.convert("RGB"))
        assert min(pixels.shape[:2]) >= 32, picture
        assert len(np.unique(pixels)) > 8, f"{picture} is nearly blank"
