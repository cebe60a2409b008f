"""A licence is a person's file: whatever is in it, Gurobi works or is said not to."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.host.search.solvers import gurobi

LINES = st.sampled_from(
    ("HOSTID=1", "EXPIRATION=2099-01-01", "KEY=ABC", "TYPE=ACADEMIC", "VERSION=13", "LICENSEID=1", "=", "[", "#")
)


@pytest.fixture
def licence(tmp_path, monkeypatch):
    pytest.importorskip("gurobipy")
    for name in gurobi.WLS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRB_LICENSE_FILE", str(tmp_path / "gurobi.lic"))
    yield tmp_path / "gurobi.lic"
    gurobi.available.cache_clear()
    gurobi._environment.cache_clear()


def said():
    gurobi.available.cache_clear()
    gurobi._environment.cache_clear()
    return gurobi.available()


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=80) | st.lists(LINES, max_size=5).map(lambda lines: "\n".join(lines).encode()))
def test_no_licence_file_is_worse_than_a_reason(licence, content):
    licence.write_bytes(content)
    reason = said()
    assert reason is None or (reason.startswith("gurobi has no usable licence (") and "\n" not in reason)


@pytest.mark.parametrize("number", ["", "x", "9" * 40, "9" * 5000, "1e3", "\u00b2"])
def test_no_licence_number_is_worse_than_a_reason(licence, monkeypatch, number):
    monkeypatch.setenv("GRB_WLSACCESSID", "a")
    monkeypatch.setenv("GRB_WLSSECRET", "b")
    monkeypatch.setenv("GRB_LICENSEID", number)
    assert said().startswith("gurobi has no usable licence (")


def test_a_folder_in_the_licences_place_is_a_reason(licence):
    licence.mkdir()
    assert said() is None or said().startswith("gurobi has no usable licence (")
