"""Meters of this computer that watch devices while plans are run: named on the command line, or behind containers."""

import json
from pathlib import Path

import pytest

from dime.host.execution import runs
from tests.host.bench import contained
from tests.host.conftest import dime
from tests.host.execution.test_faults import changed
from tests.host.execution.test_in_containers import lab, left, planned, study  # noqa: F401 # fixtures
from tests.lab.meter import StandInMeter

WATTS = 3.0


@pytest.mark.alone
def test_the_edge_device_s_meter_is_named_on_the_command_line(study):  # noqa: F811
    with StandInMeter(lambda now_s: WATTS) as meter:
        dime(
            "verify",
            f"--plans={study}",
            "--runs=60",
            f"--meter=smartpower3,serial={meter.port},baud=500000",
            folder=".",
        )
    plans = json.loads((study / "verified/001/verification.json").read_text())["links"][0]["plans"]
    assert {plan["energies"][0]["device"] for plan in plans} == {"edge"}
    assert any(plan["energies"][0]["measured"]["mean_j"] is not None for plan in plans)


@pytest.mark.parametrize(
    ("text", "reason"), [("smartpower3,500000", "'500000' is not NAME=VALUE"), ("nothing", "unknown meter 'nothing'")]
)
def test_a_meter_that_is_none_is_told(study, text, reason):  # noqa: F811
    done = dime("verify", f"--plans={study}", f"--meter={text}", folder=".", check=False)
    assert done.returncode == 1 and reason in done.stderr and len(done.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("name", ["edge", "server"])
def test_a_container_s_joules_are_found_though_its_clock_is_another(study, lab, name):  # noqa: F811
    """Its clock is an hour and more ahead of the one by which the meter is read."""
    ahead = (
        "from dime.contract import timebase\n\ntold = timebase._read\ntimebase._read = lambda: told() + 5 * 10**12\n"
    )
    lab[name].environment = {"PYTHONPATH": changed(lab[name].folder, ahead)}
    with StandInMeter(lambda now_s: WATTS) as meter:
        options = f'meter = {{name = "smartpower3", port = "{meter.port}", baud = 500000}}'
        contained.write_lab(Path("lab.toml"), lab, **{name: options})
        (link,) = runs.verify(study, runs=60).links
    measured = [compared.energies[0] for compared in link.compared]
    assert {one.device for one in measured} == {name}
    known = [(one, plan) for one, plan in zip(measured, link.compared, strict=True) if one.mean_j is not None]
    assert known, [one.why_not for one in measured]
    for one, plan in known:  # a round has what lies between requests, too
        assert WATTS * 0.95 * plan.measured.mean_s <= one.mean_j <= WATTS * 2 * plan.measured.mean_s
    assert left(lab) == [[], []]
