"""A plan whose edge device has Python 3.6 and the oldest torch, and whose server has today's."""

import os
import subprocess

import pytest

from dime.host.bench.engines import process
from dime.host.execution import runs
from tests.host.conftest import dime
from tests.host.execution import made
from tests.host.execution.test_verify import LINK, MODEL

pytestmark = pytest.mark.slow


def test_an_edge_of_python_3_6_and_a_server_of_today_give_the_same_class(python36, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(MODEL)
    words = ["--network=mine", "--device=edge", "--out=results/edge/mine", "--threads=1", "--runs=3", "--iterations=3"]
    dime("samples", "--net=mine.py:build", "--input=1x3x32x32", "--cuts=all", "--name=mine", folder=tmp_path)
    done = subprocess.run(
        [python36, *process.ENTRY[1:], "profile", *words],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    dime("profile", "--net=mine", "--device=server", "--runs=3", "--iterations=3", folder=tmp_path)
    dime("solve", "--net=mine", f"--link={LINK}", "--edge-power=5", "--replicates=0", folder=tmp_path)
    made.start_with(monkeypatch, "edge", python36)
    made.go_to(tmp_path, tmp_path, monkeypatch)
    found = runs.verify("results/plans/mine/001", runs=5)
    versions = [facts["versions"] for facts in found.facts]
    assert versions[0]["python"].startswith("3.6.") and versions[0]["torch"] != versions[1]["torch"]
    assert found.facts[0]["weights_sha256"] == found.facts[1]["weights_sha256"]
    (link,) = found.links
    server = next(one for one in link.compared if "server" in (one.name, *one.also) or one.name == "all on server")
    assert server.distance is not None and server.distance < 1e-3 and server.fallbacks == 0
