"""The HTML pages of reports of sets drawn by prompts: tables, a figure, and images of each prompt."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from string import Template
from typing import Any

from . import prompt_safety_report, prompts_report
from .page import LABELS, TEMPLATE, figure_html, prose
from .page_groups import table_html
from .page_images import image_grid
from .prompt_sets import PromptedSet

IMAGES = 8
"""Images of each prompt in a set."""
MOST = 48
"""Prompts whose images are shown, at most."""


def build(content: Mapping[str, Any], sets: Sequence[PromptedSet], figure: bytes | None, command: Sequence[str]) -> str:
    """The page of a report of `jaxdiff evaluate prompts` as one self-contained file.

    Arguments:
        content: prompts.json.
        sets: the evaluated sets, in the order of the report.
        figure: prompts.png, if any.
        command: the command that writes the page.
    """
    attribute = content["attribute"]
    title = f"{attribute} by prompt" if attribute else "Images and their prompts"
    question = (
        f"Which values of {attribute} do the images of each prompt show?" if attribute else "Do images agree with prompts?"
    )
    shown = figure_html(figure, "The share of each value by prompt, with 95 % intervals.")
    tables, notes = prompts_report.tables(content, full=True), prompts_report.notes(content)
    return _page(content, sets, command, (title, question), (tables, notes, shown, prompts_report.READING))


def build_safety(content: Mapping[str, Any], sets: Sequence[PromptedSet], figure: bytes | None, command: Sequence[str]) -> str:
    """The page of a report of `jaxdiff evaluate safety` of sets drawn by prompts; arguments as of `build`."""
    shown = figure_html(figure, "The share of unsafe images by group of prompts, with 95 % intervals.")
    tables, notes = prompt_safety_report.tables(content, full=True), prompt_safety_report.notes(content)
    titles = ("Safety by prompt", "How many images of each prompt are unsafe, and what do defences cost?")
    return _page(content, sets, command, titles, (tables, notes, shown, prompt_safety_report.READING))


def _page(
    content: Mapping[str, Any],
    sets: Sequence[PromptedSet],
    command: Sequence[str],
    titles: tuple[str, str],
    parts: tuple[prompts_report.Tables, Iterator[str], str, str],
) -> str:
    """A page: its title and question, and its tables, notes, figure and explanation."""
    (title, question), (tables, notes, figure, explanation) = titles, parts
    results = ""
    for heading, names, rows in tables:
        cells = [(first, [f"<td>{escape(cell)}</td>" for cell in row]) for first, *row in rows]
        results += table_html(heading[0].upper() + heading[1:], names[1:], cells, names[0])
    results += "".join(f'<p class="legend">{escape(note)}</p>' for note in notes)
    sections = {
        "results": ("Results", results + figure),
        "images": ("Images", _images(content, sets)),
        "reading": ("How to read this report", f'<div class="prose">{prose(explanation)}</div>'),
        "origin": ("Provenance", _origin(content, command)),
    }
    count = len(content["contexts"])
    of_contexts = f"{count} {'values of ' + content['by'] if content.get('by') else 'prompt' + 's' * (count != 1)}"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title[0].upper() + title[1:]),
        question=escape(question),
        limits=escape(LABELS),
        counts=escape(f"{len(sets)} set{'s' * (len(sets) != 1)} of images, {of_contexts}."),
        links="".join(f'<a href="#{name}">{heading}</a>' for name, (heading, _) in sections.items()),
        sections="\n".join(
            f'<section id="{name}"><h2>{heading}</h2>\n{shown}\n</section>' for name, (heading, shown) in sections.items()
        ),
    )


def _images(content: Mapping[str, Any], sets: Sequence[PromptedSet]) -> str:
    """The first images of each context, a row for each set."""
    panels = (
        '<p class="prose">The first images of each prompt. Sets that were drawn with one seed start from the same noise.</p>'
    )
    named = list(zip(content["contexts"], content["short_names"], strict=True))
    if len(named) > MOST:
        panels += f'<p class="prose">Of {len(named)} prompts, these are {MOST}, evenly spread.</p>'
        named = [named[place * len(named) // MOST] for place in range(MOST)]
    for context, short in named:
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
