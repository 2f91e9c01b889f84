"""CelebA as it is downloaded: aligned images, JPEG or PNG, in any folder or zip, beside the publisher's text files or Kaggle's
CSV files; see `jaxdiff.data.published.celeba`."""

import numpy as np

from jaxdiff.data.published import celeba
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError


class CelebA(Reader):
    """Reads CelebA: 40 attributes with the values no and yes, and the official partition.

    Rows without an image are left out and counted in a note: many people keep a part of the images. Without the table of the
    partition, which a note says, splits are by hash. Raises `InputError` if a table is malformed or there is no image.
    """

    name = "celeba"
    about = "CelebA with list_attr_celeba.txt or .csv"
    names_values = True

    def recognises(self, request: Request) -> bool:
        return request.files is not None and bool(request.files.named(*celeba.LABELS))

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        tables = celeba.parse(files, partition=False)
        images, unlisted = celeba.images(files, tables.labels)
        if not images:
            reason = f"none of the {len(tables.labels)} images of {tables.table}"
            raise InputError(f"{files.where} {f'contains {reason}' if files.images else f'{files.no_images}, and {reason}'}")
        notes = []
        if len(images) < len(tables.labels):
            missing = len(tables.labels) - len(images)
            notes.append(f"{missing} of {len(tables.labels)} rows of {tables.table} have no image and are left out")
        if unlisted:
            notes.append(f"{unlisted} of {len(images) + unlisted} images are not in {tables.table} and are left out")
        if tables.splits is None:
            notes.append(f"no {celeba.PARTITIONS[0]}: splits are not the official ones, but by a fixed hash")
        values = np.array([tables.labels[file] for file in images])
        return Table(
            files,
            list(images.values()),
            dict(zip(celeba.NAMES, values.T, strict=True)),
            None if tables.splits is None else np.array([tables.splits[file] for file in images]),
            keys=list(images),
            value_names=dict.fromkeys(celeba.NAMES, tuple(celeba.VALUES.values())),
            notes=tuple(notes),
        )
