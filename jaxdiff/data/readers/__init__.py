"""Readers of data sets: one file for each kind, and the registry from which `open_data` chooses.

This module imports none of them, so that the command line can list their names before any array is needed.
"""

from typing import TYPE_CHECKING

from jaxdiff._lazy import lazily

if TYPE_CHECKING:
    from jaxdiff.data.readers.reader import Read, Reader, Request, Table
    from jaxdiff.data.readers.registry import READERS

READER_MODULES = {
    "embedded": "embedded:Embedded",
    "tfds": "tfds:Tfds",
    "npz": "npz:Npz",
    "samples": "sample_set:SampleSetReader",
    "table": "table:LabelsTable",
    "celeba": "celeba:CelebA",
    "fairface": "fairface:FairFace",
    "stylegan": "stylegan:StyleGAN",
    "imagefolder": "imagefolder:ImageFolder",
    "webdataset": "webdataset:WebDataset",
    "parquet": "parquet:Parquet",
    "utkface": "utkface:UTKFace",
    "folders": "class_folders:ClassFolders",
    "images": "images:Images",
}
"""The kinds of data sets, MODULE:CLASS of the reader by its name; a request is read by the first that recognises it."""

__all__ = ["READERS", "READER_MODULES", "Read", "Reader", "Request", "Table"]

__getattr__, __dir__ = lazily(__name__, {"reader": ("Read", "Reader", "Request", "Table"), "registry": ("READERS",)})
