"""ARITHMETIC=published is the whole of it: the means of runs as well as the radio."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from dime.contract.errors import InputError
from dime.host.analysis.resampling import resample
from dime.host.planning.formulation import build_problem
from dime.host.profiles.profiles import load_profile
from dime.host.report import terminal
from dime.host.studies.study import make_study
from dime.testing import synthetic

PASSES, RUNS = 3, 20
SIZES = synthetic.ALEXNET.sizes_bytes


@pytest.fixture
def edge(tmp_path):
    """A published parquet of AlexNet: passes counted from 1, the first one slower, and one run without energy."""
    model = synthetic.profile(synthetic.ALEXNET, runs=PASSES * RUNS, frequencies_hz=(100, 200))
    layers, frequency, cells = [], [], len(model.starts) - 1
    for cell in range(cells):
        bundle = model.bundles[cell // 2]
        layers += ["_".join(model.layers[bundle.first : bundle.last + 1])] * PASSES * RUNS
        frequency += [model.frequencies_hz[cell % 2]] * PASSES * RUNS
    passes = np.tile(np.repeat(np.arange(1, PASSES + 1), RUNS), cells)
    energy = model.run_energy_j * np.where(passes == 1, 2, 1) * 1e6
    energy[PASSES * RUNS - 1] = 0.5
    columns = {
        "layers": layers,
        "frequency": frequency,
        "iter": passes,
        "run": np.tile(np.arange(1, RUNS + 1), cells * PASSES),
        "durs": model.run_duration_s * np.where(passes == 1, 3, 1),
        "run_energy": energy,
    }
    parquet.write_table(pa.table(columns), tmp_path / "nano.parquet")
    return load_profile(tmp_path / "nano.parquet", device="nano", network="alexnet")


def published_means(profile, cell, first_pass):
    """The published statistic, written anew for one cell."""
    part = slice(profile.starts[cell], profile.starts[cell + 1])
    durations, energies, passes = profile.run_duration_s[part], profile.run_energy_j[part], profile.run_iteration[part]
    used = (energies > 1e-6) & (passes > 1) if not first_pass else energies > -1
    durations = sorted(durations[used])
    skipped = len(durations) // 10
    return np.mean(durations[skipped : len(durations) - skipped]), np.mean(energies[used])


def costs(problem, cell):
    device = problem.devices[0]
    return device.latency_ps.ravel()[cell] / 1e12, device.energy_pj.ravel()[cell] / 1e12


@pytest.mark.parametrize("network", ["alexnet", "vgg11"])
def test_costs_are_the_published_means(edge, network):
    edge = replace(edge, network=network)
    problem = build_problem([edge], {}, sizes_bytes=SIZES, arithmetic="published")
    for cell in range(len(edge.starts) - 1):
        assert costs(problem, cell) == pytest.approx(published_means(edge, cell, network != "alexnet"), rel=1e-9)


def test_ours_keep_the_first_of_three_passes(edge):
    problem = build_problem([edge], {}, sizes_bytes=SIZES)
    assert costs(problem, 1)[1] > 1.1 * published_means(edge, 1, first_pass=False)[1]


def test_the_server_keeps_its_first_pass(edge):
    server = replace(synthetic.server(synthetic.ALEXNET), run_iteration=None)
    passes = np.tile([0, 1], len(server.run_duration_s) // 2 + 1)[: len(server.run_duration_s)]
    found = make_study(
        [edge, replace(server, run_iteration=passes)], "WiFi", sizes_bytes=SIZES, arithmetic="published", replicates=0
    )
    assert len(found.profiles[0].run_duration_s) == len(edge.run_duration_s) * 2 // 3 - 1
    assert "  arithmetic: published, of the runs' means and of the radio energies" in terminal.text(found).splitlines()
    assert len(found.profiles[1].run_duration_s) == len(server.run_duration_s)


def test_replicates_are_of_the_same_means(edge):
    problem = build_problem([edge], {}, sizes_bytes=SIZES, arithmetic="published")
    drawn = resample(problem, [edge], 400)
    for mean, replicates in (
        (problem.devices[0].latency_ps, drawn.latency_ps[0]),
        (problem.devices[0].energy_pj, drawn.energy_pj[0]),
    ):
        assert np.allclose(replicates.mean(axis=0), mean, rtol=0.01)


def test_one_pass_is_kept_and_told(edge):
    one = replace(edge, run_iteration=np.ones_like(edge.run_iteration), network="AlexNet")
    found = make_study(
        [one, synthetic.server(synthetic.ALEXNET)], "WiFi", sizes_bytes=SIZES, arithmetic="published", replicates=0
    )
    assert len(found.profiles[0].run_duration_s) == len(edge.run_duration_s) - 1
    assert any("here is only one, which is kept" in line for line in found.profiles[0].warnings)


def test_a_bundle_of_which_nothing_is_left(edge):
    with pytest.raises(InputError, match="of some bundles nothing is left: profile more passes"):
        build_problem(
            [replace(edge, run_energy_j=edge.run_energy_j * 0)], {}, sizes_bytes=SIZES, arithmetic="published"
        )
