"""How long the command takes to start beside a bare interpreter, and what it must not load for that."""

import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.benchmark

HEAVY = ("numpy", "pandas", "pyarrow", "torch", "docker", "paramiko", "numba", "gurobipy", "highspy", "matplotlib")


def loaded(statement):
    code = f"{statement}; import sys; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def quickest_s(statement, times=7):
    found = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True)
        found.append(time.perf_counter() - began)
    return min(found)


@pytest.mark.parametrize("statement", ["import dime", "import dime.host.cli.main"])
def test_starting(statement, figures):
    assert not loaded(statement) & set(HEAVY)
    bare_s, whole_s = quickest_s("pass"), quickest_s(statement)
    figures(f"{statement}: {1000 * (whole_s - bare_s):.0f} ms more than a bare interpreter's {1000 * bare_s:.0f} ms")
