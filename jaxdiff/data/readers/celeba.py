"""CelebA as it is downloaded: aligned images, JPEG or PNG, in any folder or zip, beside the publisher's text files or Kaggle's
CSV files; see `jaxdiff.data.published.celeba`."""

import numpy as np

from jaxdiff.data.published import celeba
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
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

    def read(self, request: Request) -> Read:
        files = request.files
        assert files is not None
        tables, images = celeba.parse(files, partition=False), celeba.images(files)
        present = [file for file in tables.labels if celeba.stem(file) in images]
        if not images:
            raise InputError(f"{files.where} {files.no_images}; {tables.table} lists {len(tables.labels)} images")
        if not present:
            raise InputError(f"{files.where} contains none of the {len(tables.labels)} images of {tables.table}")
        notes = []
        if len(present) < len(tables.labels):
            missing = len(tables.labels) - len(present)
            notes.append(f"{missing} of {len(tables.labels)} rows of {tables.table} have no image and are left out")
        if len(present) < len(images):
            notes.append(f"{len(images) - len(present)} of {len(images)} images are not in {tables.table} and are left out")
        if tables.splits is None:
            notes.append(f"no {celeba.PARTITIONS[0]}: splits are not the official ones, but by a fixed hash")
        values = np.array([tables.labels[file] for file in present])
        return Table(
            [images[celeba.stem(file)] for file in present],
            dict(zip(celeba.NAMES, values.T, strict=True)),
            None if tables.splits is None else np.array([tables.splits[file] for file in present]),
            keys=present,
            value_names=dict.fromkeys(celeba.NAMES, tuple(celeba.VALUES.values())),
            notes=tuple(notes),
        ).labelled(files, request)
