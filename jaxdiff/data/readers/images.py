"""Images without labels, in a folder, a zip or a tar."""

from jaxdiff.data.readers.placement import Placement
from jaxdiff.data.readers.reader import Reader, Request, Table
from jaxdiff.errors import InputError


class Images(Reader):
    """Reads any images; there are no attributes. Folders or archives train, validation (val, valid, dev) and test are splits.

    Raises `InputError` if there is no image.
    """

    name = "images"
    about = "images without labels"
    fallback = True

    def recognises(self, request: Request) -> bool:
        return request.files is not None

    def read(self, request: Request) -> Table:
        files = request.files
        assert files is not None
        if not files.images:
            raise InputError(f"{files.where} {files.no_images}, no labels.csv, nor data of another layout")
        placement = Placement.of(files.images, files.archives)
        notes = ("there are no labels", *placement.notes)
        return Table(files, files.images, {}, placement.splits, notes=notes)
