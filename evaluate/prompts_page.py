"""The HTML page of a report of sets drawn by prompts: its tables, its figure, and images of each prompt."""

import shlex
from collections.abc import Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from . import prompts_report
from .page import TEMPLATE, figure_html, prose
from .page_groups import table_html
from .page_images import image_grid
from .prompt_sets import PromptedSet

IMAGES = 8
"""Images of each prompt in a set."""


def build(content: Mapping[str, Any], sets: Sequence[PromptedSet], figure: bytes | None, command: Sequence[str]) -> str:
    """The page as one self-contained file.

    Arguments:
        content: prompts.json.
        sets: the evaluated sets, in the order of the report.
        figure: prompts.png, if any.
        command: the command that writes the page.
    """
    tables = ""
    for title, names, rows in prompts_report.tables(content, full=True):
        cells = [(heading, [f"<td>{escape(cell)}</td>" for cell in row]) for heading, *row in rows]
        tables += table_html(title[0].upper() + title[1:], names[1:], cells, names[0])
    notes = "".join(f'<p class="legend">{escape(note)}</p>' for note in prompts_report.notes(content))
    sections = {
        "results": ("Results", tables + notes + figure_html(figure, "The share of each value by prompt, with 95 % intervals.")),
        "images": ("Images", _images(content, sets)),
        "reading": ("How to read this report", f'<div class="prose">{prose(prompts_report.READING)}</div>'),
        "origin": ("Provenance", _origin(content, command)),
    }
    attribute, count = content["attribute"], len(content["contexts"])
    title = f"{attribute} by prompt" if attribute else "Images and their prompts"
    question = (
        f"Which values of {attribute} do the images of each prompt show?" if attribute else "Do images agree with prompts?"
    )
    of_contexts = f"{count} {'values of ' + content['by'] if content['by'] else 'prompt' + 's' * (count != 1)}"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title[0].upper() + title[1:]),
        question=escape(question),
        counts=escape(f"{len(sets)} set{'s' * (len(sets) != 1)} of images, {of_contexts}."),
        links="".join(f'<a href="#{name}">{title}</a>' for name, (title, _) in sections.items()),
        sections="\n".join(
            f'<section id="{name}"><h2>{title}</h2>\n{shown}\n</section>' for name, (title, shown) in sections.items()
        ),
    )


def _images(content: Mapping[str, Any], sets: Sequence[PromptedSet]) -> str:
    """The first images of each context, a row for each set."""
    panels = (
        '<p class="prose">The first images of each prompt. Sets that were drawn with one seed start from the same noise.</p>'
    )
    for context, short in zip(content["contexts"], content["short_names"], strict=True):
        panels += f'<div class="panel"><h3>{escape(short)} <small>{escape(context) if context != short else ""}</small></h3>'
        for each in sets:
            if (images := each.first(context, IMAGES)) is not None:
                panels += f'<p class="row"><b>{escape(each.name)}</b></p>'
                panels += image_grid(images, IMAGES, 2, f"the first {len(images)} images of {each.name}: {context}")
        panels += "</div>"
    return f'<div class="panels">{panels}</div>'


def _origin(content: Mapping[str, Any], command: Sequence[str]) -> str:
    facts = {
        "report": f"<code>{escape(shlex.join(content['command']))}</code>",
        "page": f"<code>{escape(shlex.join(command))}</code>",
        "machine": escape(f"{content['machine']}, {content['seconds']} s"),
        "versions": escape(", ".join(f"{name} {version}" for name, version in content["versions"].items())),
    }
    return f'<dl class="facts">{"".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())}</dl>'
