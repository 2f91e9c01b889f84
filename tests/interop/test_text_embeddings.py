"""The forms of files of textual inversion hold the same embeddings, and other files are refused."""

import numpy as np
import pytest
import safetensors.numpy

from jaxdiff.errors import InputError
from jaxdiff.interop import text_embeddings
from tests.interop.test_torch_file import saved, storage, tensor, zipped

ROWS = np.arange(12, dtype=np.float32).reshape(3, 4)


def of_safetensors(file, arrays):
    safetensors.numpy.save_file(arrays, file)
    return file


def of_webui(file, **more):
    """A file of torch as stable-diffusion-webui writes it."""
    rows = tensor(storage("Float", "0", ROWS.size), ROWS.shape, (4, 1))
    return zipped(file, {"string_to_token": {"*": 265}, "string_to_param": {"*": rows}, **more}, {"0": ROWS})


@pytest.mark.parametrize(
    ("token", "write"),
    [
        ("<face>", lambda folder: of_safetensors(folder / "learned_embeds.safetensors", {"<face>": ROWS})),
        ("<face>", lambda folder: saved(folder / "learned_embeds.bin", {"<face>": ROWS})),
        ("face-3", lambda folder: of_safetensors(folder / "face-3.safetensors", {"emb_params": ROWS})),
        ("face", lambda folder: of_webui(folder / "x.pt", name="face", step=5)),
        ("x", lambda folder: of_webui(folder / "x.pt")),
    ],
)
def test_every_form_has_the_same_embeddings(token, write, tmp_path):
    found = text_embeddings.read(write(tmp_path))
    assert found.token == token and len(found.vectors) == 1
    np.testing.assert_array_equal(found.vectors[0], ROWS)
    assert text_embeddings.read(write(tmp_path), token="<mine>").token == "<mine>"


def test_one_vector_and_half_precision(tmp_path):
    found = text_embeddings.read(of_safetensors(tmp_path / "a.safetensors", {"<x>": ROWS[1].astype(np.float16)}))
    assert found.vectors[0].dtype == np.float32
    np.testing.assert_array_equal(found.vectors[0], ROWS[1:2])


def test_the_embeddings_of_two_text_encoders(tmp_path):
    arrays = {"clip_g": np.ones((3, 6), np.float32), "clip_l": ROWS}
    first, second = text_embeddings.read(of_safetensors(tmp_path / "both.safetensors", arrays)).vectors
    np.testing.assert_array_equal(first, ROWS)
    assert second.shape == (3, 6)


@pytest.mark.parametrize(
    ("arrays", "fault"),
    [
        (
            {"a": ROWS, "b": ROWS},
            "has a token, string_to_param, emb_params, or clip_l and clip_g; got 'a', 'b'",
        ),
        ({"clip_l": ROWS, "clip_g": ROWS[:2]}, r"as many embeddings for each text encoder, got \[3, 2\]"),
        ({"<x>": ROWS[None]}, r"must have shape \(n, D\) with n up to 1,024, got \(1, 3, 4\)"),
        ({"<x>": ROWS.astype(np.int32)}, "embeddings must be an array of numbers"),
        ({"<x>": np.full((1, 4), np.inf, np.float32)}, "embeddings must be finite"),
    ],
)
def test_other_files_are_refused(arrays, fault, tmp_path):
    with pytest.raises(InputError, match=fault) as raised:
        text_embeddings.read(of_safetensors(tmp_path / "x.safetensors", arrays))
    assert "x.safetensors" in str(raised.value)
