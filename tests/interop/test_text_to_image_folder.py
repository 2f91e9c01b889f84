"""A text-to-image pipeline is written and read again as it was, bit for bit."""

import json
from dataclasses import replace

import pytest

import jaxdiff
from jaxdiff import interop
from tests import small_pipeline
from tests.interop.folders import changed

KINDS = {"SD 1": {}, "v": {"prediction": "v_prediction"}, "XL": {"xl": True}}


@pytest.mark.parametrize("of", KINDS.values(), ids=KINDS)
def test_a_pipeline_comes_back_as_it_was(of, tmp_path):
    written, read = small_pipeline.model(**of), jaxdiff.load(small_pipeline.folder(tmp_path / "out", **of))
    assert small_pipeline.same(written, read)
    assert read.config == written.config and read.prediction == written.prediction and read.grids == written.grids
    assert read.process.config() == written.process.config() and read.conditions == written.conditions
    assert (read.space.shape, read.space.scaling_factor) == (written.space.shape, written.space.scaling_factor)
    interop.save(tmp_path / "again", read)
    again = jaxdiff.load(tmp_path / "again")
    assert again.fingerprint == read.fingerprint and len(read.fingerprint) == 16
    other = jaxdiff.load(small_pipeline.folder(tmp_path / "other", seed=1, **of))
    assert not small_pipeline.same(other, read) and other.fingerprint != read.fingerprint


@pytest.mark.parametrize("zeros", [True, False])
def test_whether_the_null_condition_of_xl_is_zero_is_kept(zeros, tmp_path):
    model = small_pipeline.model(xl=True)
    interop.save(tmp_path / "out", replace(model, conditions=replace(model.conditions, zeros=zeros)))
    assert json.loads((tmp_path / "out" / "model_index.json").read_text())["force_zeros_for_empty_prompt"] is zeros
    assert jaxdiff.load(tmp_path / "out").conditions.zeros is zeros
    changed(tmp_path / "out" / "model_index.json", force_zeros_for_empty_prompt=None)
    assert jaxdiff.load(tmp_path / "out").conditions.zeros


@pytest.mark.parametrize(
    "placing",
    [
        {"steps_offset": 0},
        {"timestep_spacing": "trailing", "set_alpha_to_one": True},
        {"timestep_spacing": "leading"},
        {"timestep_spacing": "linspace", "final_sigmas_type": "sigma_min"},
        {"_class_name": "EulerDiscreteScheduler"},
        {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
    ],
    ids=str,
)
def test_where_samplers_place_their_timesteps_is_kept(placing, tmp_path):
    small_pipeline.folder(tmp_path / "out")
    changed(tmp_path / "out" / "scheduler" / "scheduler_config.json", **placing)
    read = jaxdiff.load(tmp_path / "out")
    interop.save(tmp_path / "again", read)
    assert jaxdiff.load(tmp_path / "again").grids == read.grids
