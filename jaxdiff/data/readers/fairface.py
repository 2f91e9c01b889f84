"""FairFace as it is downloaded: `train` and `val` in any folder or zip, beside the publisher's two tables; see
`jaxdiff.data.published.fairface`."""

import numpy as np

from jaxdiff.data.published import fairface
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError


class FairFace(Reader):
    """Reads FairFace: age, gender and race, with the publisher's training split; its validation split is halved into validation
    and test.

    Rows without an image are left out and counted in a note. Raises `InputError` if a table is malformed or there is no image.
    """

    name = "fairface"
    about = "FairFace with fairface_label_train.csv and fairface_label_val.csv"
    names_values = True

    def recognises(self, request: Request) -> bool:
        return request.files is not None and bool(request.files.named(*fairface.TABLES.values()))

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        parts = [part for part, table in fairface.TABLES.items() if files.named(table)]
        rows, images = fairface.parse(files, parts), fairface.images(files)
        present = [row for row in rows if row.file in images]
        if not images:
            raise InputError(f"{files.where} {files.no_images}; its tables list {len(rows)} images")
        if not present:
            raise InputError(f"{files.where} contains none of the {len(rows)} images of its tables, such as {rows[0].file}")
        notes = []
        if len(parts) < len(fairface.TABLES):
            absent = next(table for part, table in fairface.TABLES.items() if part not in parts)
            notes.append(f"no {absent}: its images are left out")
        if len(present) < len(rows):
            notes.append(f"{len(rows) - len(present)} of {len(rows)} rows of the tables have no image and are left out")
        if len(present) < len(images):
            notes.append(f"{len(images) - len(present)} of {len(images)} images are in no table and are left out")
        return Table(
            files,
            [images[row.file] for row in present],
            {name: np.array([row.values[name] for row in present]) for name in fairface.VALUES},
            np.array([row.split for row in present]),
            value_names=fairface.VALUES,
            notes=tuple(notes),
        )
