"""`python -m train`: data -> model, or, as `python -m train classifier`, data -> classifier of noised images.

`python -m train export` and `import` bring models out and in.
"""

import inspect
import sys

import tyro

from jaxdiff._console.terminal import run
from jaxdiff.errors import InputError


def main() -> None:
    """Parses the command line and runs the command: by default, opens the data and trains."""
    commands = {"classifier": _train_classifier, "export": _export, "import": _import}
    if sys.argv[1:] and sys.argv[1] in commands:
        commands[sys.argv[1]](sys.argv[2:])
    else:
        _train_diffusion(sys.argv[1:])


def _train_diffusion(arguments: list[str]) -> None:
    from jaxdiff import parallel
    from jaxdiff.data import require_two_values
    from jaxdiff.training import TIME_SAMPLINGS, WEIGHTINGS

    from .diffusion import image_size, resolve
    from .options import Options, table

    choices = table(Weightings=WEIGHTINGS, Time_samplings=TIME_SAMPLINGS)
    about = f"{inspect.getdoc(Options)}\n\n{choices}"
    options = tyro.cli(Options, prog="python -m train", args=arguments, description=about)
    names = options.attributes or (("group",) if options.data.startswith("embedded") else None)
    names = () if options.unconditional else names
    mesh = _join(options)
    source = parallel.in_all(lambda: _open(options, image_size(options), options.channels, names))
    if names is None and len(source.attributes) > 1:
        known = ", ".join(attribute.name for attribute in source.attributes)
        raise InputError(f"{source.name} has several attributes: choose with --attributes, one or more of {known}")
    task = resolve(options, source)
    for attribute in source.attributes:
        require_two_values(source, attribute.name)
    _train(options, task, source, mesh)


def _train_classifier(arguments: list[str]) -> None:
    from jaxdiff import parallel

    from .classifier import ClassifierOptions, context, resolve
    from .options import table

    about = f"{inspect.getdoc(ClassifierOptions)}\n\n{table()}"
    options = tyro.cli(ClassifierOptions, prog="python -m train classifier", args=arguments, description=about)
    mesh = _join(options)
    size, channels, process = parallel.in_all(lambda: context(options))
    source, *held_out = parallel.in_all(
        lambda: [_open(options, size, channels, (options.attribute,), split) for split in ("train", "validation", "test")]
    )
    held_out = dict(zip(("validation", "test"), held_out, strict=True))
    _train(options, resolve(options, process, source, held_out), source, mesh)


def _export(arguments: list[str]) -> None:
    from .exchange import Export, export_model

    export_model(tyro.cli(Export, prog="python -m train export", args=arguments, description=inspect.getdoc(Export)))


def _import(arguments: list[str]) -> None:
    from .exchange import Import, import_model

    import_model(tyro.cli(Import, prog="python -m train import", args=arguments, description=inspect.getdoc(Import)))


def _open(options, size: tuple[int, int], channels: int | None, names, split: str = "train"):
    """A split of the data, with the attributes of these names (None is all there are)."""
    from jaxdiff._console.arguments import value_names
    from jaxdiff.data import open_data

    given = value_names(options.value_names)
    return open_data(options.data, split=split, size=size, channels=channels, attributes=names, value_names=given)


def _join(options):
    """The mesh of the run's processes, or of the devices that a dry run is for."""
    from jaxdiff._console.dry_run import pretend

    if options.devices is not None:
        pretend(options.devices)
    return options.join()


def _train(options, task, source, mesh) -> None:
    from jaxdiff import parallel
    from jaxdiff.data import verify

    from .dry_run import dry_run
    from .loop import train

    if options.dry_run:
        dry_run(options, task, source, mesh)
        return
    parallel.in_all(lambda: verify(source))
    sys.exit(train(options, task, parallel.in_all(source.cached), mesh))


def start() -> None:
    """Runs the program."""
    run(main, training=True)


if __name__ == "__main__":
    start()
