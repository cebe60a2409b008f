"""What `dime solve` takes as a whole process, beside a process that only imports what it needs, in one run."""

import subprocess
import sys
from time import perf_counter

import numpy as np
import pytest

from dime.contract.bundles import spell
from dime.testing import synthetic

pytestmark = pytest.mark.benchmark
ROWS = 43_200
IMPORTS = "import fire, numpy, pyarrow.parquet, pyarrow.csv, gurobipy, dime.host.studies.study, dime.host.report.page"


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """A joined profile of AlexNet, 36 bundles x 12 frequencies x 100 runs, and a server's table."""
    import pandas as pd

    folder = tmp_path_factory.mktemp("tables")
    for profile in (synthetic.profile(synthetic.ALEXNET, runs=100), synthetic.server(synthetic.ALEXNET)):
        cell = np.repeat(np.arange(len(profile.starts) - 1), np.diff(profile.starts))
        row, column = np.divmod(cell, len(profile.frequencies_hz))
        table = pd.DataFrame(
            {
                "layers": np.array([spell(bundle, list(profile.layers)) for bundle in profile.bundles])[row],
                "frequency": np.array(profile.frequencies_hz)[column],
                "duration_s": profile.run_duration_s,
            }
        )
        if profile.run_energy_j is not None:
            table["energy_j"] = profile.run_energy_j
            assert len(table) == ROWS
        table.to_parquet(folder / f"{profile.device}.parquet")
    return folder


def shortest(words, folder, count=5):
    times = []
    for at in range(count):
        began = perf_counter()
        subprocess.run([word.replace("{at}", str(at)) for word in words], cwd=folder, check=True, capture_output=True)
        times.append(perf_counter() - began)
    return min(times)


def test_a_solve_from_the_profile_to_the_report(tables, figures):
    words = [
        *(sys.executable, "-m", "dime.host", "solve", "--net=alexnet", "--edge=./nano.parquet"),
        *("--server=./wiscad.parquet", "--link=4G", "--goal=energy"),
        "--sizes=" + ",".join(map(str, synthetic.ALEXNET.sizes_bytes)),
    ]
    imports_s = shortest([sys.executable, "-c", IMPORTS], tables)
    plain_s = shortest([*words, "--replicates=0", "--out=plain{at}"], tables)
    whole_s = shortest([*words, "--out=whole{at}"], tables)
    figures(
        f"dime solve, {ROWS} rows to plan, frontier and report: {plain_s:.2f} s, {plain_s / imports_s:.1f} x its"
        f" imports; with 200 bootstrap replicates {whole_s:.2f} s, {whole_s / imports_s:.1f} x"
    )
    assert (tables / "whole0/4G/frontier.parquet").exists() and (tables / "whole0/report.html").exists()
