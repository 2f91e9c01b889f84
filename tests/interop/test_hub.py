"""Models of the Hugging Face hub: its own library downloads what is needed from a hub on this machine, and reads its cache."""

import json
import os
import shutil
import sys
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

import jaxdiff
from jaxdiff import interop
from jaxdiff import model as models
from jaxdiff.errors import InputError
from jaxdiff.interop import hub as hubs
from tests import small_pipeline
from tests.interop.folders import WEIGHTS, parts
from tests.interop.local_hub import LocalHub
from tests.interop.test_checkpoint_files import STEM, halved, other, split, written
from train.__main__ import main

NAME = "someone/faces"
NEEDED = ["scheduler/scheduler_config.json", "unet/config.json", WEIGHTS]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache, and nothing of the user's."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    return tmp_path / "cache"


def use(monkeypatch, address: str) -> None:
    """Makes the library use a hub at an address."""
    monkeypatch.setattr(constants, "ENDPOINT", address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def hub(monkeypatch, cache, foreign):
    """A hub with one model, which has more files than are needed."""
    for name in ("README.md", "samples.png", f"unet/{STEM}.bin", "unet/optimizer.bin", ".gitattributes"):
        (foreign / name).write_text("not needed")
    served = LocalHub()
    served.add(NAME, foreign)
    with served.serving() as address:
        use(monkeypatch, address)
        yield served


@pytest.fixture
def offline(monkeypatch):
    """Cuts the connection: `offline()` says so to the library, as HF_HUB_OFFLINE does; `offline(unreachable=True)` does not."""

    def cut(*, unreachable: bool = False) -> None:
        use(monkeypatch, "http://127.0.0.1:9")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", not unreachable)

    return cut


def test_a_model_is_that_of_its_folder_and_only_needed_files_are_downloaded(hub, foreign):
    model, here = interop.load(f"hf://{NAME}"), interop.load(foreign)
    assert (model.config, model.prediction) == (here.config, here.prediction)
    assert sorted(hub.downloaded) == NEEDED
    assert model.training == {"imported": f"diffusers, {NAME}", "revision": hub.commit(NAME, "main")}
    assert jaxdiff.load(f"hf://{NAME}").fingerprint == model.fingerprint
    assert sorted(hub.downloaded) == NEEDED


@pytest.mark.parametrize("unreachable", [False, True])
def test_the_cache_serves_without_a_connection(unreachable, hub, offline, cache):
    expected = interop.load(f"hf://{NAME}")
    offline(unreachable=unreachable)
    assert interop.load(f"hf://{NAME}").fingerprint == expected.fingerprint
    commit = hub.commit(NAME, "main")
    assert interop.load(f"hf://{NAME}@{commit}").fingerprint == expected.fingerprint
    with pytest.raises(InputError, match="someone/other is not in the cache of the Hugging Face hub, and the hub cannot be"):
        interop.load("hf://someone/other")
    with pytest.raises(InputError, match="someone/faces@v2 is not in the cache"):
        interop.load(f"hf://{NAME}@v2")
    os.remove(next(cache.rglob(f"{STEM}.safetensors")))
    with pytest.raises(InputError, match="someone/faces/unet has no weights"):
        interop.load(f"hf://{NAME}")


def test_a_cache_that_another_program_filled_is_read(hub, offline):
    """As `from_pretrained` and `hf download` fill it."""
    huggingface_hub.hf_hub_download(NAME, "unet/config.json")
    for name in NEEDED[:1] + NEEDED[2:]:
        huggingface_hub.hf_hub_download(NAME, name)
    offline()
    assert interop.load(f"hf://{NAME}").training["revision"] == hub.commit(NAME, "main")


def test_a_revision_is_the_one_asked_for(hub, foreign, tmp_path):
    shutil.copytree(foreign, tmp_path / "second")
    written(tmp_path / "second" / WEIGHTS, other(parts(foreign)[0]))
    before = interop.load(f"hf://{NAME}")
    commit = hub.add(NAME, tmp_path / "second", revision="v2")
    after = interop.load(f"hf://{NAME}@v2")
    assert after.training["revision"] == commit and after.fingerprint != before.fingerprint
    with pytest.raises(InputError, match="someone/faces has no revision v3"):
        interop.load(f"hf://{NAME}@v3")


def test_shards_and_variants_are_found(hub, foreign):
    state, _ = parts(foreign)
    for name in (WEIGHTS, f"unet/{STEM}.bin"):
        (foreign / name).unlink()
    split(foreign, state)
    written(foreign / "unet" / f"{STEM}.fp16.safetensors", halved(state))
    interop.load(f"hf://{NAME}")
    shards = [f"unet/{STEM}-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    index = f"unet/{STEM}.safetensors.index.json"
    assert sorted(hub.downloaded) == sorted([*NEEDED[:2], index, *shards])
    hub.downloaded.clear()
    assert interop.load(f"hf://{NAME}", variant="fp16").training["weights"] == "variant fp16"
    assert hub.downloaded == [f"unet/{STEM}.fp16.safetensors"]


def test_a_folder_and_a_file_of_a_repository_can_be_named(hub, foreign):
    shutil.copytree(foreign / "unet", foreign / "unet_ema")
    assert interop.load(f"hf://{NAME}").training["weights"] == "unet_ema"
    assert interop.load(f"hf://{NAME}/unet").training["weights"] == "unet"
    assert interop.load(f"hf://{NAME}", subfolder="unet").training["weights"] == "unet"
    file = interop.load(f"hf://{NAME}/{WEIGHTS}")
    assert file.training == {"imported": f"diffusers, {STEM}.safetensors", "revision": hub.commit(NAME, "main")}


def test_a_network_of_latents_is_refused_before_its_weights_are_downloaded(hub, foreign):
    (foreign / "vqvae").mkdir()
    (foreign / "vqvae" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="someone/faces draws latents, which its vqvae turns into images"):
        interop.load(f"hf://{NAME}")
    (foreign / "model_index.json").write_text(json.dumps({"_class_name": "LDMPipeline", "vqvae": ["diffusers", "VQModel"]}))
    with pytest.raises(InputError, match="someone/faces, a LDMPipeline, draws latents"):
        interop.load(f"hf://{NAME}")
    assert hub.downloaded == ["model_index.json"]


def test_a_run_that_was_shared_on_the_hub_is_a_run(hub, trained, tmp_path):
    models.save(tmp_path / "run", trained)
    hub.add("someone/run", tmp_path / "run")
    assert jaxdiff.load("hf://someone/run").fingerprint == trained.fingerprint


def test_what_the_hub_refuses_is_one_clear_error(hub):
    with pytest.raises(InputError, match="the hub has no model someone/other, or it is private"):
        interop.load("hf://someone/other")
    hub.gated.add(NAME)
    with pytest.raises(InputError, match="someone/faces needs permission: accept its terms on the hub"):
        interop.load(f"hf://{NAME}")
    for source in ("hf://faces", "hf://", "hf://a/b@"):
        with pytest.raises(InputError, match=r"is hf://OWNER/NAME\[@REVISION\]\[/PATH\], got hf://"):
            interop.load(source)
    with pytest.raises(InputError, match=r"a/b.. is no name of a model on the Hugging Face hub"):
        interop.load("hf://a/b..")


def test_a_download_that_breaks_off_is_an_error_and_the_next_one_goes_on(hub, foreign, monkeypatch):
    answer, broken = hub.answer, [True]

    def breaking(path):
        status, headers, content = answer(path)
        return (403, {}, b"") if broken[0] and path.endswith(WEIGHTS) else (status, headers, content)

    monkeypatch.setattr(hub, "answer", breaking)
    with pytest.raises(InputError, match=rf"{WEIGHTS} of someone/faces could not be downloaded: .*403"):
        interop.load(f"hf://{NAME}")
    broken[0] = False
    assert interop.load(f"hf://{NAME}").config == interop.load(foreign).config


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"need huggingface_hub: install it with pip install 'jaxdiff\[hub\]'"):
        interop.load(f"hf://{NAME}")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("hf://a/b", ("a/b", None, "")),
        (Path("hf://a/b@v1"), ("a/b", "v1", "")),
        ("hf://a/b/", ("a/b", None, "")),
        ("hf://a/b@v1/x/y.pt", ("a/b", "v1", "x/y.pt")),
        ("a/b", None),
        ("runs/hf", None),
    ],
)
def test_a_reference_is_taken_apart(source, expected):
    assert hubs.parsed(source) == expected


def test_import_takes_a_name_that_no_file_here_has(hub, offline, call_program, capsys, tmp_path):
    def call(*arguments):
        status = call_program(main, "train", "import", *arguments)
        captured = capsys.readouterr()
        return status, " ".join((captured.out + captured.err).split())

    status, output = call(NAME, "--out", "run")
    assert status == 0 and jaxdiff.load(tmp_path / "run").training["imported"] == f"diffusers, {NAME}"
    status, output = call("someone/other", "--out", "new")
    message = "someone/other does not exist, and as a model of the Hugging Face hub: the hub has no model someone/other"
    assert status == 2 and message in output
    # a folder here comes first
    shutil.copytree(hub.folders[NAME], tmp_path / "someone" / "faces")
    status, output = call(NAME, "--out", "here")
    assert status == 0 and jaxdiff.load(tmp_path / "here").training == {"imported": "diffusers, faces"}
    shutil.rmtree(tmp_path / "someone")
    offline()
    assert call(NAME, "--out", "again")[0] == 0
    assert jaxdiff.load(tmp_path / "again").fingerprint == jaxdiff.load(tmp_path / "run").fingerprint
    assert call("./absent", "--out", "new") == (2, "error: absent does not exist")


@pytest.fixture
def pipeline(monkeypatch, cache, tmp_path):
    """A hub with a text-to-image pipeline, which has more files than are needed."""
    folder = small_pipeline.folder(tmp_path / "sd")
    for name in (
        "README.md",
        "v1-5-pruned.ckpt",
        f"unet/{STEM}.bin",
        f"vae/{STEM}.fp16.safetensors",
        "safety_checker/model.bin",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("not needed")
    served = LocalHub()
    served.add(NAME, folder)
    with served.serving() as address:
        use(monkeypatch, address)
        yield served


def test_of_a_text_to_image_pipeline_only_what_is_needed_is_downloaded(pipeline, offline, tmp_path):
    model = jaxdiff.load(f"hf://{NAME}")
    assert small_pipeline.same(model, small_pipeline.model())
    assert model.training == {"imported": f"diffusers, {NAME}", "revision": pipeline.commit(NAME, "main")}
    tokens = {f"tokenizer/{each.name}" for each in (tmp_path / "sd" / "tokenizer").iterdir()}
    settings = {f"{part}/config.json" for part in ("unet", "vae", "text_encoder")} | {"scheduler/scheduler_config.json"}
    weights = {WEIGHTS, f"vae/{STEM}.safetensors", "text_encoder/model.safetensors"}
    assert set(pipeline.downloaded) == {"model_index.json"} | settings | tokens | weights
    offline()
    assert small_pipeline.same(interop.load_text_to_image(f"hf://{NAME}"), model)


def test_a_text_to_image_pipeline_of_the_hub_is_imported(pipeline, call_program, capsys, tmp_path, offline):
    assert call_program(main, "train", "import", NAME, "--out", "run") == 0
    assert small_pipeline.same(jaxdiff.load(tmp_path / "run"), small_pipeline.model())
    offline()
    assert call_program(main, "train", "import", "someone/other", "--unet", "run/" + WEIGHTS, "--out", "new") == 2
    message = "someone/other does not exist, and as a model of the Hugging Face hub: someone/other is not in the cache of the"
    assert message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "new").exists()
