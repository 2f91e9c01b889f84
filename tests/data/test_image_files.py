"""Image files of every kind are read as viewers show them."""

import io

import numpy as np
import pytest
from PIL import Image

from jaxdiff.data import load_arrays, open_data
from jaxdiff.data.images import decode
from jaxdiff.errors import InputError

ORIENTATION = 0x0112


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# EXIF 2.3, table "Orientation": where the stored row 0 and column 0 are shown
SHOWN = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", SHOWN)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_images_are_oriented_as_exif_says(orientation, kind):
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:8, :16], stored[:8, 16:], stored[8:, :16] = (200, 0, 0), (0, 200, 0), (0, 0, 200)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {"quality": 95, "subsampling": 0} if kind == "JPEG" else {}
    got = decode(encoded(Image.fromarray(stored), kind, exif=exif, **lossless), "x")
    want = SHOWN[orientation](stored)
    assert got.shape == want.shape
    np.testing.assert_allclose(got[2::4, 2::4], want[2::4, 2::4], atol=30 if kind == "JPEG" else 0)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"II*\x00\xff\xff\xff\xff", b"XX*\x00\x00\x00\x00\x00"])
def test_damaged_exif_data_do_not_matter(exif):
    image = np.full((8, 8, 3), 90, np.uint8)
    whole = encoded(Image.fromarray(image), "PNG", exif=b"Exif\x00\x00" + exif)
    np.testing.assert_array_equal(decode(whole, "x"), image)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_grey_levels_of_16_bits_are_scaled(kind):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    got = decode(encoded(Image.fromarray(levels), kind), "x")
    np.testing.assert_array_equal(got[..., 0], np.rint(levels / 257))


@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.float32), np.full((4, 4), 70_000, np.int32)])
def test_pixels_of_32_bits_are_errors(pixels):
    with pytest.raises(InputError, match="x has .* pixels; images have 8 bits per channel, or 16 if grey"):
        decode(encoded(Image.fromarray(pixels), "TIFF"), "x")


@pytest.mark.parametrize(
    "suffix", ["jpg", "JPG", "jpeg", "jpe", "JFIF", "png", "PNG", "bmp", "gif", "webp", "tif", "TIFF", "avif"]
)
@pytest.mark.parametrize("mode", ["RGB"])
def test_colour_images_of_every_suffix(tmp_path, suffix, mode, write_faces):
    kinds = ["red", "blue", "blue", "red"]
    folder = write_faces(tmp_path, kinds, suffix=suffix)
    images, labels = load_arrays(open_data(folder, split="all", channels=3))
    assert [("blue", "red")[code] for code in labels[:, 0]] == kinds
    assert [("blue", "red")[int(image[..., 0].mean() > image[..., 2].mean())] for image in images] == kinds


@pytest.mark.parametrize(("suffix", "kind"), [("pgm", "PPM"), ("PNM", "PPM"), ("ppm", "PPM")])
def test_grey_images_of_every_suffix(tmp_path, suffix, kind):
    levels = np.arange(0, 250, 50, dtype=np.uint8)
    for i, level in enumerate(levels):
        (tmp_path / f"{i}.{suffix}").write_bytes(encoded(Image.fromarray(np.full((4, 4), level)), kind))
    (tmp_path / "labels.csv").write_text("file,level\n" + "".join(f"{i}.{suffix},{x}\n" for i, x in enumerate(levels)))
    source = open_data(tmp_path, split="all")
    images, labels = load_arrays(source)
    assert images.shape == (5, 4, 4, 1)
    assert [int(source.attributes[0].values[code]) for code in labels[:, 0]] == images[:, 0, 0, 0].tolist() == levels.tolist()
