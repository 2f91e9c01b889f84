"""Class folders, as torchvision's ImageFolder and Hugging Face's imagefolder read them: each class is a folder, and the folders
train, validation (val, valid, dev) and test, if present, are splits."""

import numpy as np

from jaxdiff.data.columns import order
from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Reader, Request, Table


class ClassFolders(Reader):
    """Reads images in folders of classes: the attribute `label` has the name of the folder as its value.

    Folders of at least two classes must contain all images. Folders with names of four or more digits only (00000, 00001, ...)
    are not classes, nor are archives.
    """

    name = "folders"
    about = "a folder of images for each class, optionally in train, validation and test"
    fallback = True

    def recognises(self, request: Request) -> bool:
        files = request.files
        return files is not None and bool(files.images) and Placement.of(files.images, files.archives).classes() is not None

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        placement = Placement.of(files.images, files.archives)
        classes = np.array(placement.classes())
        names = sorted(set(classes.tolist()), key=order)
        value_names = {"label": {name: name for name in names}}  # named, so that there may be any number
        keys = placement.rest if placement.splits is None else None
        return Table(files, files.images, {"label": classes}, placement.splits, keys, value_names, placement.notes)
