"""The tables that the command line uses without JAX name every process, solver, spacing and preset."""

from typing import get_args

import pytest

from jaxdiff import choices
from jaxdiff.presets import PRESETS, PresetName
from jaxdiff.process import PROCESSES, vp_cosine
from jaxdiff.quality.resizing import RESIZES
from jaxdiff.solvers import SOLVERS, grid


@pytest.mark.parametrize(
    "names, table",
    [
        (choices.ProcessName, choices.PROCESSES),
        (choices.SolverName, choices.SOLVERS),
        (choices.Spacing, choices.SPACINGS),
        (choices.Weighting, choices.WEIGHTINGS),
        (choices.TimeSampling, choices.TIME_SAMPLINGS),
        (choices.Resize, RESIZES),
        (PresetName, PRESETS),
    ],
)
def test_a_type_of_names_has_those_of_its_table(names, table):
    assert get_args(names) == tuple(table)


def test_the_tables_name_what_there_is():
    assert set(choices.PROCESSES) == set(PROCESSES)
    assert set(choices.SOLVERS) == set(SOLVERS)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_table_of_solvers_says_order_cost_and_noise(name):
    """A run of S steps costs a S - b evaluations; a and b from two runs."""
    ten, twenty = SOLVERS[name](10), SOLVERS[name](20)
    slope = (twenty.evaluations - ten.evaluations) // 10
    offset = 10 * slope - ten.evaluations
    cost = ("S" if slope == 1 else f"{slope} S") + (f" - {offset}" if offset else "")
    noise = ", with noise" if ten.stochastic else ""
    assert choices.SOLVERS[name].startswith(f"order {ten.order}; {cost}{noise}: ")


def test_the_reversible_solvers_are_named():
    assert [name for name, solver in SOLVERS.items() if solver(10).reversible] == list(choices.REVERSIBLE)
    noisy = [SOLVERS["ddim"](10, eta=0.5), SOLVERS["ddim"](10, clip=(-1.0, 1.0)), SOLVERS["heun"](10, churn=1.0)]
    assert not any(solver.reversible for solver in noisy)


@pytest.mark.parametrize("spacing", [name for name in choices.SPACINGS if name not in grid.DISCRETE])
def test_a_spacing_of_the_table_makes_falling_nodes(spacing):
    nodes = grid.nodes(spacing, 4, vp_cosine())
    assert len(nodes) == 5 and all(nodes[:-1] > nodes[1:]) and nodes[-1] == 0
