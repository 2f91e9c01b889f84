"""`python -m train`: data -> model, or, as `python -m train classifier`, data -> classifier of noised images.

`python -m train export` and `import` bring models out and in.
"""

import inspect
import sys

import tyro

from console.terminal import run
from jaxdiff.errors import InputError


def main() -> None:
    """Parses the command line and runs the command: by default, opens the data and trains."""
    commands = {"classifier": _train_classifier, "export": _export, "import": _import}
    if sys.argv[1:] and sys.argv[1] in commands:
        commands[sys.argv[1]](sys.argv[2:])
    else:
        _train_diffusion(sys.argv[1:])


def _train_diffusion(arguments: list[str]) -> None:
    from jaxdiff.data import require_two_values
    from jaxdiff.training import TIME_SAMPLINGS, WEIGHTINGS
    from train.diffusion import image_size, resolve
    from train.options import Options, table

    choices = table(Weightings=WEIGHTINGS, Time_samplings=TIME_SAMPLINGS)
    about = f"{inspect.getdoc(Options)}\n\n{choices}"
    options = tyro.cli(Options, prog="python -m train", args=arguments, description=about)
    names = options.attributes or (("group",) if options.data.startswith("embedded") else None)
    source = _open(options, image_size(options), names)
    if names is None and len(source.attributes) > 1:
        known = ", ".join(attribute.name for attribute in source.attributes)
        raise InputError(f"{source.name} has several attributes: choose with --attributes, one or more of {known}")
    task = resolve(options, source.attributes)
    for attribute in source.attributes:
        require_two_values(source, attribute.name)
    _train(options, task, source)


def _train_classifier(arguments: list[str]) -> None:
    from train.classifier import ClassifierOptions, context, resolve
    from train.options import table

    about = f"{inspect.getdoc(ClassifierOptions)}\n\n{table()}"
    options = tyro.cli(ClassifierOptions, prog="python -m train classifier", args=arguments, description=about)
    size, process = context(options)
    source = _open(options, size, (options.attribute,))
    held_out = {split: _open(options, size, (options.attribute,), split) for split in ("validation", "test")}
    _train(options, resolve(options, size, process, source, held_out), source)


def _export(arguments: list[str]) -> None:
    from train.exchange import Export, export_model

    export_model(tyro.cli(Export, prog="python -m train export", args=arguments, description=inspect.getdoc(Export)))


def _import(arguments: list[str]) -> None:
    from train.exchange import Import, import_model

    import_model(tyro.cli(Import, prog="python -m train import", args=arguments, description=inspect.getdoc(Import)))


def _open(options, size: int, names, split: str = "train"):
    """A split of the data, with the attributes of these names (None is all there are)."""
    from console.arguments import value_names
    from jaxdiff.data import open_data

    return open_data(options.data, split=split, size=size, attributes=names, value_names=value_names(options.value_names))


def _train(options, task, source) -> None:
    from jaxdiff.data import verify
    from train.loop import train

    verify(source)
    sys.exit(train(options, task, source.cached()))


if __name__ == "__main__":
    run(main)
