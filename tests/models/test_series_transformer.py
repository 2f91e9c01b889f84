"""The transformer of series: what is known of it without another implementation."""

import json
from dataclasses import replace
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxdiff.bridge_condition import BridgeCondition
from jaxdiff.errors import InputError
from jaxdiff.model import require_end_input
from jaxdiff.models import series_transformer as module
from jaxdiff.models.network import Network, series_transformer
from jaxdiff.models.series_config import SeriesConfig
from jaxdiff.models.series_parts import frequencies, polynomials
from jaxdiff.models.size import weight_count
from jaxdiff.process import bridge_ve, vp_cosine
from jaxdiff.weight_file import configuration, named

B = 4
CONFIG = SeriesConfig(8, 3, width=8, heads=2, encoder=1, decoder=2)
FULL = SeriesConfig(7, 2, width=8, heads=2, encoder=2, decoder=1, values=(2, 3), end_input=True, known_input=True)
WIDE = SeriesConfig(65, 1, width=4, heads=1)  # a season of five taps
EVERY = {"plain": CONFIG, "full": FULL, "wide": WIDE, "shortest": replace(CONFIG, length=4, features=1)}


@cache
def drawn(config: SeriesConfig) -> Network:
    """A network with every weight drawn, so that none is zero."""
    fresh, rng = series_transformer(config, jax.random.key(0)), np.random.default_rng(3)

    def draw(leaf) -> jax.Array:
        scale = np.sqrt(np.prod(leaf.shape[:-1])) if leaf.ndim > 1 else 4
        return jnp.asarray(rng.standard_normal(leaf.shape) / scale + (leaf if leaf.ndim == 1 else 0), jnp.float32)

    return Network(jax.tree.map(draw, fresh.weights), fresh.structure)


decompose = jax.jit(lambda network, *given: network.decompose(*given))
estimate = jax.jit(lambda network, *given: network(*given))


@cache
def inputs(config: SeriesConfig, seed: int = 0) -> tuple[jax.Array, jax.Array, BridgeCondition]:
    """Series, times and a condition."""
    rng = np.random.default_rng(seed)
    x, end = rng.standard_normal((2, B, *config.shape)).astype(np.float32)
    labels = np.array([[0, 2], [1, 0], [-1, 1], [1, -1]])
    condition = BridgeCondition(
        end if config.end_input else None, end > 0 if config.known_input else None, labels if config.values else None
    )
    return jnp.asarray(x), jnp.array([0, 0.1, 0.5, 1], jnp.float32), jax.tree.map(jnp.asarray, condition)


@pytest.mark.parametrize("config", EVERY.values(), ids=EVERY)
def test_the_parts_are_what_they_are_called_and_their_sum_is_the_estimate(config):
    given = inputs(config)
    parts = decompose(drawn(config), *given)
    whole = estimate(drawn(config), *given)
    assert whole.shape == given[0].shape and whole.dtype == jnp.float32
    np.testing.assert_allclose(sum(parts), whole, rtol=1e-5, atol=1e-5)
    assert min(np.abs(part).max() for part in parts) > 1e-2
    # a constant and polynomials
    basis = np.concatenate([np.ones((config.length, 1)), polynomials(config.length)], 1).astype(np.float64)
    fitted = (
        basis @ np.linalg.lstsq(basis, np.moveaxis(np.asarray(parts.trend, np.float64), 1, 0).reshape(config.length, -1))[0]
    )
    np.testing.assert_allclose(
        fitted.reshape(config.length, B, -1), np.moveaxis(parts.trend, 1, 0), atol=2e-5 * np.abs(parts.trend).max()
    )
    spectrum = np.abs(np.fft.rfft(parts.season, axis=1))
    assert np.delete(spectrum, range(1, frequencies(config.length) + 1), 1).max() < 1e-5 * spectrum.max()
    np.testing.assert_allclose(parts.residual.mean(1), 0, atol=1e-5)


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=["plain", "full"])
def test_a_row_does_not_depend_on_its_batch(config):
    x, t, condition = inputs(config)
    whole = estimate(drawn(config), x, t, condition)
    order = np.array([2, 0, 3, 1])
    moved = estimate(drawn(config), x[order], t[order], jax.tree.map(lambda leaf: leaf[order], condition))
    np.testing.assert_allclose(moved, whole[order], atol=1e-6)
    one = estimate(drawn(config), x[1:2], t[1:2], jax.tree.map(lambda leaf: leaf[1:2], condition))
    np.testing.assert_allclose(one, whole[1:2], atol=2e-5)
    assert not np.allclose(estimate(drawn(config), x[:1].repeat(B, 0), t, condition)[0], whole[1], atol=1e-2)


@pytest.mark.parametrize(("most", "rows"), [(1, 4), (2 * 7 * 8, 4), (2 * 7 * 8, 3)])
def test_pieces_of_a_batch_are_its_rows(monkeypatch, most, rows):
    """Pieces of one row, of two, and of two of which one is filled up."""
    given = jax.tree.map(lambda leaf: leaf[:rows], inputs(FULL))
    whole = [part[:rows] for part in decompose(drawn(FULL), *inputs(FULL))]
    monkeypatch.setattr(module, "MOST_STATES_ON_CPU", most)
    monkeypatch.setattr(module, "on_processor", lambda: True)
    split = jax.jit(lambda network, *given: network.decompose(*given))  # compiled anew
    assert "while" in split.lower(drawn(FULL), *given).as_text()
    for part, expected in zip(split(drawn(FULL), *given), whole, strict=True):
        np.testing.assert_allclose(part, expected, atol=2e-5)


def test_features_have_no_order():
    """A network whose weights are in another order of features gives the estimate in that order."""
    x, t, condition = inputs(CONFIG)
    network, order = drawn(CONFIG), np.array([2, 0, 1])

    def moved(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        if name == "embedding/kernel":
            return leaf[:, order]
        of_features = ("trend/out", "mean/", "residual/", "season/")
        return leaf[..., order] if any(part in f"{name}/" for part in of_features) else leaf

    other = Network(jax.tree_util.tree_map_with_path(moved, network.weights), network.structure)
    for part, expected in zip(decompose(other, x[..., order], t, condition), decompose(network, x, t, condition), strict=True):
        np.testing.assert_allclose(part, expected[..., order], atol=1e-5)


def test_all_that_it_is_told_matters_and_nothing_else():
    x, t, condition = inputs(FULL)
    network = drawn(FULL)
    whole = estimate(network, x, t, condition)

    def changed(**parts):
        return np.abs(estimate(network, x, t, condition._replace(**parts)) - whole).max((1, 2))

    assert (changed(end=-condition.end) > 1e-2).all() and (changed(known=~condition.known) > 1e-2).all()
    assert ((changed(labels=np.array([[0, 2], [0, 0], [-1, 1], [1, 2]])) > 1e-2) == [False, True, False, True]).all()
    assert (np.abs(estimate(network, x, np.array([0, 0.2, 0.5, 0.9]), condition) - whole).max((1, 2)) > 1e-3).tolist() == [
        False, True, False, True,
    ]  # fmt: skip
    x, t, _ = inputs(CONFIG)
    unused = BridgeCondition(end=x, known=x > 0)
    bare = estimate(drawn(CONFIG), x, t, BridgeCondition())
    np.testing.assert_array_equal(estimate(drawn(CONFIG), x, t, unused), bare)
    np.testing.assert_array_equal(estimate(drawn(CONFIG), x, t, None), bare)
    with_key = jax.jit(lambda network, x, t, key: network(x, t, None, dropout_key=key))
    np.testing.assert_array_equal(with_key(drawn(CONFIG), x, t, jax.random.key(1)), bare)


def test_the_mask_is_a_number_for_each_entry():
    """Without x_T it is beside the series: the kernel's part for it counts the known entries around a step."""
    config = replace(CONFIG, known_input=True)
    network, (x, t, condition) = drawn(config), inputs(config)
    plain = drawn(CONFIG)
    kernel = network.weights["embedding"]["kernel"].at[:, CONFIG.features :].set(0)
    same = Network({**network.weights, "embedding": {**network.weights["embedding"], "kernel": kernel}}, network.structure)
    without = {**network.weights, "embedding": {**network.weights["embedding"], "kernel": kernel[:, : CONFIG.features]}}
    np.testing.assert_allclose(
        estimate(same, x, t, condition), estimate(Network(without, plain.structure), x, t, BridgeCondition()), atol=1e-5
    )
    assert not np.allclose(estimate(network, x, t, condition), estimate(same, x, t, condition), atol=1e-2)


@pytest.mark.parametrize("null_label", [True, False])
def test_labels_are_added_to_the_time_embedding(null_label):
    config = replace(CONFIG, values=(2, 3), null_label=null_label)
    network, (x, t, condition) = drawn(config), inputs(config)
    null = condition._replace(labels=np.full((B, 2), -1))
    without = {name: leaf for name, leaf in network.weights.items() if name != "label_table"}
    unlabelled = estimate(Network(without, drawn(CONFIG).structure), x, t, None)
    assert np.allclose(estimate(network, x, t, null), unlabelled, atol=1e-5) != null_label
    zero = Network({**without, "label_table": 0 * network.weights["label_table"]}, network.structure)
    np.testing.assert_allclose(estimate(zero, x, t, condition), unlabelled, atol=1e-5)
    weights = np.array([[1, 0, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0, 0], [0, 0, 1, 0, 1, 0, 0], [0, 1, 0, 0, 0, 0, 1]], np.float32)
    labelled = estimate(network, x, t, condition)
    np.testing.assert_array_equal(estimate(network, x, t, BridgeCondition(labels=weights)), labelled)
    assert not np.allclose(labelled, estimate(network, x, t, null), atol=1e-2)


@pytest.mark.parametrize("config", [CONFIG, FULL], ids=["plain", "full"])
def test_every_weight_has_a_finite_slope(config):
    network, (x, t, condition) = drawn(config), inputs(config)

    def error(weights, *given):
        return jnp.square(Network(weights, network.structure)(*given)).sum()

    slopes = jax.jit(jax.grad(error))
    for name, slope in named(slopes(network.weights, x, t, condition)).items():
        assert np.isfinite(slope).all(), name
        # the bias of the keys adds the same number to all logits of a query
        assert (np.abs(slope).max() > 1e-4) != name.endswith("key/bias"), name
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes(network.weights, 0 * x, t, condition)))
    # hidden states without any variance
    zero = jax.tree.map(jnp.zeros_like, network.weights)
    assert all(np.isfinite(slope).all() for slope in jax.tree.leaves(slopes(zero, 0 * x, t, condition)))


def test_in_bfloat16_the_estimate_is_near_and_float32():
    config = replace(CONFIG, width=32)
    x, t, condition = inputs(config)
    network = drawn(config)
    half = Network(network.weights, series_transformer(replace(config, dtype="bfloat16"), jax.random.key(0)).structure)
    expected, got = estimate(network, x, t, condition), estimate(half, x, t, condition)
    assert got.dtype == jnp.float32 and not np.array_equal(got, expected)
    assert np.linalg.norm(got - expected) < 0.05 * np.linalg.norm(expected)


def test_numbers_compile_nothing():
    network, (x, t, condition), traces = drawn(FULL), inputs(FULL), []
    compiled = jax.jit(lambda network, *given: traces.append(1) or network(*given))
    compiled(network, x, t, condition)
    compiled(network, 2 * x, t[::-1], jax.tree.map(lambda leaf: leaf[::-1], condition))
    assert len(traces) == 1


def test_a_fresh_network_returns_zero():
    network = series_transformer(CONFIG, jax.random.key(1))
    weights = named(network.weights)
    for name in ("encoder_positions", "decoder_positions"):
        assert 0.015 < np.abs(weights[name]).max() <= 0.02
    assert abs(np.std(named(series_transformer(SeriesConfig(500, 1), jax.random.key(1)).weights)["encoder_positions"])
               - 0.02 / np.sqrt(3)) < 1e-4  # fmt: skip
    x, t, _ = inputs(CONFIG)
    assert np.abs(estimate(network, x, t)).max() == 0


PUBLISHED = {
    "sines": (SeriesConfig(24, 5, encoder=1), 235_249),
    "stocks": (SeriesConfig(24, 6, encoder=2), 294_390),
    "etth": (SeriesConfig(24, 7, encoder=3), 353_531),
    "mujoco": (SeriesConfig(24, 14, encoder=3), 360_286),
    "energy": (SeriesConfig(24, 28, width=96, encoder=4, decoder=3), 1_139_752),
    "fmri": (SeriesConfig(24, 50, width=96, encoder=4, decoder=4), 1_406_098),
}


@pytest.mark.parametrize(("config", "count"), PUBLISHED.values(), ids=PUBLISHED)
def test_the_count_of_the_published_networks(config, count):
    assert weight_count(config) == count
    assert config.season_kernel == (5 if config.features == 50 else 1)


VARIANTS = {
    "end_input": True,
    "known_input": True,
    "values": (2, 3),
    "null_label": False,
    "decoder": 3,
    "length": 65,
    "features": 40,
}


@pytest.mark.parametrize("variant", ["none", "all", *VARIANTS])
def test_the_count_is_that_of_the_network(variant):
    changed = VARIANTS if variant == "all" else {name: value for name, value in VARIANTS.items() if name == variant}
    config = replace(CONFIG, **{"values": (2,), **changed})
    shapes = jax.eval_shape(lambda key: series_transformer(config, key), jax.random.key(0))
    assert weight_count(config) == sum(leaf.size for leaf in jax.tree.leaves(shapes.weights))


def test_a_configuration_is_read_as_it_was_written():
    for config in (CONFIG, FULL, replace(WIDE, dtype="bfloat16")):
        assert configuration(SeriesConfig, {"network": json.loads(json.dumps(config.settings()))}) == config
        assert config.shape == (config.length, config.features)
    with pytest.raises(InputError, match="`end_input` of its network must be true or false, got 1"):
        configuration(SeriesConfig, {"network": {**CONFIG.settings(), "end_input": 1}})
    with pytest.raises(InputError, match="does not know: depth"):
        configuration(SeriesConfig, {"network": {**CONFIG.settings(), "depth": 1}})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"length": 3}, "`length` must be at least 4, got 3"),
        ({"features": 0}, "`features` must be at least 1, got 0"),
        ({"width": 7, "heads": 1}, "`width` must be even, half of the time features being sines; got 7"),
        ({"width": 2, "heads": 1}, "`width` must be at least 4, got 2"),
        ({"heads": 3}, "`heads` must divide the width 8, got 3"),
        ({"encoder": 0}, "`encoder` must be at least 1, got 0"),
        ({"decoder": 0}, "`decoder` must be at least 1, got 0"),
        ({"values": (2, 0)}, "`values` must be at least 1, got 0"),
        ({"dtype": "float16"}, "`dtype` must be one of float32, bfloat16, got 'float16'"),
    ],
)
def test_configurations_that_are_refused(changed, message):
    with pytest.raises(InputError, match=message):
        replace(CONFIG, **changed)


def test_inputs_that_are_refused():
    x, t, condition = inputs(FULL)
    network = drawn(FULL)
    for series, changed, message in [
        (x[:, 1:], {}, r"`x` must be of shape \(B, 7, 2\), got \(4, 6, 2\)"),
        (x, {"end": None}, r"`condition`: end must be of the shape of the series \(4, 7, 2\), got None"),
        (
            x,
            {"known": condition.known[:, 1:]},
            r"known must be of the shape of the series \(4, 7, 2\), got the shape \(4, 6, 2\)",
        ),
        (x, {"labels": None}, "`condition`: labels is None; this network takes labels of its attributes, -1 for the null"),
        (x, {"labels": condition.labels[:, :1]}, "`labels` has 1 attributes, the model has 2"),
    ]:
        with pytest.raises(InputError, match=message):
            network(series, t, condition._replace(**changed))


@pytest.mark.parametrize(
    ("process", "prediction", "end_input", "said"),
    [
        (vp_cosine(), "edm_marginal", False, "edm_marginal is for bridges, and the process is vp_cosine"),
        (bridge_ve(), "edm_marginal", True, "edm_marginal is for networks that do not see x_T"),
        (bridge_ve(), "edm", False, "`end_input` must be set with prediction edm"),
        (bridge_ve(), "edm_marginal", False, None),
    ],
)
def test_a_prediction_needs_what_it_is_made_of(process, prediction, end_input, said):
    config = SeriesConfig(length=8, features=2, end_input=end_input)
    if said is None:
        require_end_input(config, process, prediction)
    else:
        with pytest.raises(InputError, match=said):
            require_end_input(config, process, prediction)
