"""UTKFace as it unpacks (Zhang, Song and Qi, Age Progression/Regression by Conditional Adversarial Autoencoder, CVPR 2017).

File names are `AGE_GENDER_RACE_DATE.jpg.chip.jpg`: the age in years; 0 male, 1 female; 0 White, 1 Black, 2 Asian, 3 Indian, 4
Others. A few files of the publisher lack a field, and cannot be labelled.
"""

import re

import numpy as np

from jaxdiff.data.files import Files
from jaxdiff.data.published import fairface
from jaxdiff.data.readers.reader import Reader, Request, Table

GENDERS = ("male", "female")
RACES = ("White", "Black", "Asian", "Indian", "Others")
_NAME = re.compile(r"(\d{1,3})_([01])_([0-4])_(\d{8,})\D[^/]*")
_OLDEST_OF_GROUPS = (2, 9, 19, 29, 39, 49, 59, 69)


class UTKFace(Reader):
    """Reads UTKFace from its file names: `gender`, `race`, `age` in years, and `age_group`, the age in FairFace's nine groups.

    Files with other names, and files with the name of another in another folder, as some copies of the set have them, are left
    out and counted in notes. There are no official splits; those by hash depend on the four fields of the name alone, so an
    aligned face is in the split of its original.
    """

    name = "utkface"
    about = "UTKFace with its labels in the file names"
    names_values = True

    def recognises(self, request: Request) -> bool:
        files = request.files
        return files is not None and 2 * len(_named(files)) > len(files.images)

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        named = _named(files)
        others = [name for name in files.images if name not in named]
        unique = {match.group(): name for name, match in reversed(named.items())}  # the first of each base name
        notes = []
        if others:
            notes.append(
                f"{len(others)} of {len(files.images)} files are skipped: their names are not AGE_GENDER_RACE_DATE, "
                f"as of {others[0]}"
            )
        if len(unique) < len(named):
            repeats = len(named) - len(unique)
            notes.append(f"{repeats} of {len(files.images)} files are skipped: they have the name of another in another folder")
        named = {name: named[name] for name in sorted(unique.values())}
        fields = np.array([[int(each) for each in match.groups()[:3]] for match in named.values()])
        groups = np.array(fairface.VALUES["age"])[np.searchsorted(_OLDEST_OF_GROUPS, fields[:, 0])]
        columns = {
            "gender": np.array(GENDERS)[fields[:, 1]],
            "race": np.array(RACES)[fields[:, 2]],
            "age": fields[:, 0].astype(str),
            "age_group": groups,
        }
        return Table(
            files,
            list(named),
            columns,
            keys=["_".join(match.groups()) for match in named.values()],
            value_names={"gender": GENDERS, "race": RACES, "age_group": fairface.VALUES["age"]},
            notes=tuple(notes),
        )


def _named(files: Files) -> dict[str, re.Match[str]]:
    """The images whose base names are as the publisher describes them, with the fields."""
    matches = {name: _NAME.fullmatch(name.rpartition("/")[2]) for name in files.images}
    return {name: match for name, match in matches.items() if match is not None}
