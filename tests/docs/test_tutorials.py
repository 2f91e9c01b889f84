"""The tutorials run, and their own assertions hold; what they take from the library is there.

Here they draw fewer images in fewer steps, and train classifiers for less long; `make docs` runs them all as they stand.
"""

import ast
import warnings

import matplotlib.pyplot as plt
import pytest
from jax._src import monitoring

import jaxdiff
from tests.docs.pages import ROOT, blocks

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("[!i]*.md"))
SMALLER = {
    "fair-faces": {
        "UniPC(8)": "UniPC(5)", "count = 128": "count = 64", "batch=16": "batch=4", "steps=80": "steps=40",
        '"group": 250': '"group": 50', '"beard": 100': '"beard": 50',
    },
    "fair-firefighters": {"UniPC(8": "UniPC(4", "count = 64": "count = 16"},
    "filled-gaps": {"count = 40": "count = 8", '"--steps", "10"': '"--steps", "5"'},
    "safe-faces": {"DDIM(12)": "DDIM(8)", "count = 80": "count = 40", "steps=120": "steps=80"},
    "theorem": {"UniPC(50)": "UniPC(30)", "linspace(0, 1, 21)": "linspace(0, 1, 11)"},
    "your-own-guidance": {"count = 12": "count = 4", "DDIM(12)": "DDIM(4)"},
}  # fmt: skip
"""What stands once in a tutorial, and what takes its place."""
LONG = {"fair-faces", "filled-gaps", "fair-firefighters", "safe-faces"}
"""Those that draw with the shipped models and train classifiers: run by `make docs` and `make test-all`."""


@pytest.fixture(autouse=True)
def surroundings(monkeypatch):
    """What a tutorial leaves in its process, listeners of JAX and open figures, goes with it."""
    monkeypatch.setattr(monitoring, "_event_duration_secs_listeners", list(monitoring._event_duration_secs_listeners))
    yield
    plt.close("all")


@pytest.mark.parametrize(
    "page", [pytest.param(page, id=page.stem, marks=[pytest.mark.slow] * (page.stem in LONG)) for page in TUTORIALS]
)
def test_tutorials_run(page, monkeypatch):
    cells = [block for block in blocks(page) if block.language == "{code-cell}"]
    assert cells
    written = "\n".join(cell.text for cell in cells)
    assert {each: written.count(each) for each in SMALLER[page.stem]} == dict.fromkeys(SMALLER[page.stem], 1)
    monkeypatch.chdir(page.parent)
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for cell in cells:
            text = cell.text
            for each, smaller in SMALLER[page.stem].items():
                text = text.replace(each, smaller)
            exec(compile(text, cell.name, "exec"), names)


def dotted(node) -> list[str] | None:
    """The names of `a.b.c`; of anything else None."""
    if isinstance(node, ast.Name):
        return [node.id]
    inner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return None if inner is None else [*inner, node.attr]


@pytest.mark.parametrize("page", TUTORIALS, ids=lambda page: page.stem)
def test_what_tutorials_take_from_the_library_is_there(page):
    text = "\n".join(cell.text for cell in blocks(page) if cell.language == "{code-cell}")
    taken = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module.startswith("jaxdiff"):
            exec(ast.unparse(node), {})
            taken += len(node.names)
        elif isinstance(node, ast.Attribute) and (names := dotted(node)) and names[0] == "jd":
            found, taken = jaxdiff, taken + 1
            for name in names[1:]:
                found = getattr(found, name)
    assert taken
