"""`jaxdiff sample compare`: one picture of several defences, a column for each, and a row for each prompt."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from jaxdiff import parallel
from jaxdiff._console.first import write_once
from jaxdiff._console.output import claimed
from jaxdiff._console.pictures import framed, write
from jaxdiff._console.terminal import console
from jaxdiff.conditions import prompt_file
from jaxdiff.data.gated import GATE, PROMPT_GATE
from jaxdiff.errors import InputError
from jaxdiff.loading import load
from jaxdiff.sampleset import SampleSet

from .compare_options import Compare
from .draw import draw
from .options import Draw

FILE = "compare.png"
MOST = 200
"""Rows of the picture, at most; the sets have all images."""
TEXT, LINE, SPACE = 220, 15, 4
"""Pixels of the prompts' column, of a line of the titles, and between images."""


def compare(options: Compare) -> Path:
    """Draws the sets that are missing, and the picture; returns its path."""
    prompts = parallel.run_on_all(lambda: prompt_file.read(options.prompts).table.prompts)
    draws = options.draws(len(prompts) * options.images)
    with claimed(options.out, activity="being drawn into"):
        folders = _drawn(draws)
        picture = options.out / FILE
        shown = [(place, place + again * len(prompts)) for place in range(len(prompts)) for again in range(options.images)]
        rows = [(prompts[place], index) for place, index in shown[:MOST]]
        write_once(options.out, lambda: write(_picture(folders, rows), picture))
    if len(shown) > MOST:
        console.print(f"the picture shows the first {MOST} of {len(shown)} rows", highlight=False)
    console.print(f"written: {picture}")
    return picture


def _drawn(draws: Mapping[str, Draw]) -> dict[str, Path]:
    """The folder of each column. Those of one model are drawn one after another, so that it is read once and held alone."""
    found = {}
    for path in dict.fromkeys(each.model for each in draws.values()):
        own = {name: each for name, each in draws.items() if each.model == path}
        # the other processes are joined before there are arrays
        next(iter(own.values())).join()
        model = load(path)
        found |= {name: draw(each, loaded=model)[0] for name, each in own.items()}
    return {name: found[name] for name in draws}


def _picture(folders: Mapping[str, Path], rows: Sequence[tuple[str, int]]) -> Image.Image:
    """The picture of the sets of each column, with the prompt and the index of each row."""
    columns = {name: _cells(SampleSet.open(folder), [index for _, index in rows]) for name, folder in folders.items()}
    height, width = next(iter(columns.values())).shape[1:3]
    if other := next((name for name, cells in columns.items() if cells.shape[1:3] != (height, width)), None):
        raise InputError(f"--columns {other!r} has a --model whose images have another size than those of the first column")
    font = ImageFont.load_default(size=13)
    titles = [textwrap.wrap(name, max(4, width // 8)) for name in columns]
    top = SPACE + LINE * max(map(len, titles))
    sheet = Image.new("RGB", (TEXT + len(columns) * (width + SPACE), top + len(rows) * (height + SPACE)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (title, cells) in enumerate(zip(titles, columns.values(), strict=True)):
        left = TEXT + place * (width + SPACE)
        pen.multiline_text((left, 2), "\n".join(title), fill="black", font=font, spacing=1)
        for row, cell in enumerate(cells):
            sheet.paste(Image.fromarray(cell), (left, top + row * (height + SPACE)))
    for row, (prompt, _) in enumerate(rows):
        lines = textwrap.wrap(prompt, TEXT // 8)[: max(1, height // 16)]
        pen.multiline_text((4, top + row * (height + SPACE)), "\n".join(lines), fill="black", font=font, spacing=1)
    return sheet


def _cells(samples: SampleSet, indices: Sequence[int]) -> np.ndarray:
    """The images with these indices, enlarged; with a coloured frame where a gate marked one, and grey where it refused one."""
    images = samples.space.pictures(np.stack([samples.image(index) for index in indices]))
    notes = samples.sample_notes() if samples.gated else {}
    marked = np.zeros(len(indices), bool)
    if notes and samples.provenance.get("gate", samples.provenance.get("prompt_gate", {})).get("policy") == "mark":
        marked = (notes[GATE] > 0)[indices] | notes[PROMPT_GATE].astype(bool)[indices]
    cells = framed(images, marked)
    for row in np.flatnonzero(samples.refused[indices]):
        cell = Image.new("RGB", (cells.shape[2], cells.shape[1]), (225, 225, 225))
        ImageDraw.Draw(cell).text(
            (6, cells.shape[1] // 2 - 8), "refused", fill=(90, 90, 90), font=ImageFont.load_default(size=13)
        )
        cells[row] = np.asarray(cell)
    return cells
