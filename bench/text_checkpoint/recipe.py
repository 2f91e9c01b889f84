"""The stages in order."""

import json
from dataclasses import replace

import diffusers
import torch
import transformers
from torch import nn
from transformers import CLIPTokenizer

from bench.text_checkpoint.assembling import assemble, assemble_clip
from bench.text_checkpoint.autoencoder import reconstruction, train_autoencoder
from bench.text_checkpoint.card import write_cards
from bench.text_checkpoint.classifier import train_classifier
from bench.text_checkpoint.clip import train_clip, zero_shot
from bench.text_checkpoint.measuring import Drawing, measure, tables
from bench.text_checkpoint.options import Evaluate, Make
from bench.text_checkpoint.pictures import write_pictures
from bench.text_checkpoint.plan import QUICK, Plan, Work
from bench.text_checkpoint.tokenizer import write_tokenizer
from bench.text_checkpoint.unet import train_unet
from jaxdiff._console.interrupts import keeping
from jaxdiff.errors import InputError
from jaxdiff.writing import write_text


def make(options: Make) -> None:
    """Trains, assembles and measures by the plan of the options."""
    _prepare(options.threads)
    plan = replace(QUICK if options.quick else Plan(), seed=options.seed)
    with keeping(f"finished parts and the state of the last one are kept in {options.work}"):
        follow(plan, options)


def follow(plan: Plan, options: Make) -> None:
    """Trains, assembles and measures by a plan.

    Raises:
        InputError: the work folder is of another plan.
    """
    work = _work(options, plan)
    tokenizer_folder = work.finished("tokenizer")
    if not tokenizer_folder.exists():
        write_tokenizer(tokenizer_folder, plan.seed)
    tokenizer = CLIPTokenizer.from_pretrained(tokenizer_folder)
    classifier = train_classifier(work)
    autoencoder = train_autoencoder(work)
    reconstructed = reconstruction(autoencoder, classifier, plan.held_out)
    clip = train_clip(work, tokenizer_folder)
    unet = train_unet(work, autoencoder, clip, tokenizer)
    assemble(options.out, autoencoder, unet, clip, tokenizer_folder)
    assemble_clip(options.clip, clip, tokenizer_folder)
    scales = Evaluate()
    drawn = measure(
        Drawing(options.out), classifier, count=plan.drawn, scale=scales.scale, scales=scales.scales, steps=plan.drawing_steps
    )
    write_cards(
        options.out,
        options.clip,
        plan=plan,
        parameters=(_parameters(autoencoder, unet, clip.text_model), _parameters(clip)),
        tables=tables(drawn),
        reconstruction=reconstructed,
        zero_shot=zero_shot(clip, tokenizer, plan.held_out),
    )
    print(tables(drawn))


def evaluate(options: Evaluate) -> None:
    """Measures a pipeline, and prints the tables."""
    _prepare(options.threads)
    if not (options.model / "model_index.json").exists():
        raise InputError(f"--model must be a folder in Stable Diffusion's format; {options.model} has no model_index.json")
    work = Work(options.work, Plan(seed=options.seed))
    work.folder.mkdir(parents=True, exist_ok=True)
    classifier = train_classifier(work)
    draw = Drawing(options.model)
    if options.pictures is not None:
        write_pictures(options.pictures, draw, options.scale, options.steps)
    drawn = measure(
        draw, classifier, count=options.count, scale=options.scale, scales=options.scales, steps=options.steps
    )  # fmt: skip
    print(tables(drawn))


def _parameters(*modules: nn.Module) -> int:
    return sum(parameter.numel() for module in modules for parameter in module.parameters())


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _work(options: Make, plan: Plan) -> Work:
    """The work folder, which must be of this plan."""
    file, wanted = options.work / "plan.json", plan.description()
    if file.exists() and json.loads(file.read_text()) != wanted:
        raise InputError(f"--work: {options.work} is of another plan, {file.read_text().strip()}; take another folder")
    options.work.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(wanted) + "\n")
    return Work(options.work, plan)
