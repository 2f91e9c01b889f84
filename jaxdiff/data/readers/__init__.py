"""Readers of data sets: one file for each kind, and the registry from which `open_data` chooses."""

from jaxdiff.data.readers.celeba import CelebA
from jaxdiff.data.readers.class_folders import ClassFolders
from jaxdiff.data.readers.embedded import Embedded
from jaxdiff.data.readers.fairface import FairFace
from jaxdiff.data.readers.imagefolder import ImageFolder
from jaxdiff.data.readers.images import Images
from jaxdiff.data.readers.npz import Npz
from jaxdiff.data.readers.parquet import Parquet
from jaxdiff.data.readers.reader import Read, Reader, Request, Table
from jaxdiff.data.readers.sample_set import SampleSetReader
from jaxdiff.data.readers.stylegan import StyleGAN
from jaxdiff.data.readers.table import LabelsTable
from jaxdiff.data.readers.tfds import Tfds
from jaxdiff.data.readers.utkface import UTKFace
from jaxdiff.data.readers.webdataset import WebDataset

READERS: tuple[Reader, ...] = (
    Embedded(),
    Tfds(),
    Npz(),
    SampleSetReader(),
    LabelsTable(),
    CelebA(),
    FairFace(),
    StyleGAN(),
    ImageFolder(),
    WebDataset(),
    Parquet(),
    UTKFace(),
    ClassFolders(),
    Images(),
)
"""The kinds of data sets; a request is read by the first that recognises it."""

__all__ = ["READERS", "Read", "Reader", "Request", "Table"]
