"""`python -m train`: data -> model."""

import inspect
import sys

import tyro

from console.terminal import run


def main() -> None:
    """Parses the command line, opens the data and trains."""
    from console.arguments import value_names
    from jaxdiff.data import open_data, require_two_values, verify
    from jaxdiff.errors import InputError
    from train.loop import train
    from train.options import Options, image_size, resolve, table

    options = tyro.cli(Options, prog="python -m train", description=f"{inspect.getdoc(Options)}\n\n{table()}")
    names = options.attributes or (("group",) if options.data.startswith("embedded") else None)
    source = open_data(
        options.data, split="train", size=image_size(options), attributes=names, value_names=value_names(options.value_names)
    )
    if names is None and len(source.attributes) > 1:
        known = ", ".join(attribute.name for attribute in source.attributes)
        raise InputError(f"{source.name} has several attributes: choose with --attributes, one or more of {known}")
    resolved = resolve(options, source.attributes)
    for attribute in source.attributes:
        require_two_values(source, attribute.name)
    verify(source)
    sys.exit(train(options, resolved, source.cached()))


if __name__ == "__main__":
    run(main)
