import itertools

import pytest

from dime.contract.surroundings import FIELDS, judge, of_sessions

CALM = {
    "time_s": 100.0,
    "cpus": 4,
    "affinity": "0-3",
    "affinity_cpus": 4,
    "nice": 0,
    "quota_cpus": None,
    "throttled_s": 0.0,
    "load": 0.1,
    "busy_s": 50.0,
    "own_s": 5.0,
    "stolen_s": 0.0,
    "others_cpus": 0.02,
}
AFTER = dict(CALM, time_s=200.0, busy_s=148.0, own_s=95.0)


def said(start=None, end=None, threads=4):
    return list(judge(dict(CALM, **(start or {})), dict(AFTER, **(end or {})), threads).items())


def test_a_calm_machine_is_no_matter():
    assert set(CALM) == set(FIELDS)
    assert said() == []
    assert judge(CALM, {}, 4) == {}
    assert judge({}, {}, None) == {}


@pytest.mark.parametrize(
    "start, end, threads, expected",
    [
        ({"quota_cpus": 1.5}, {}, 1, ("quota", "measured under a quota of 1.5 of 4 CPUs (cgroup)")),
        (
            {"quota_cpus": 0.5},
            {"throttled_s": 3.25},
            1,
            ("quota", "measured under a quota of 0.5 of 4 CPUs (cgroup), which held it back for 3.25 s"),
        ),
        ({"affinity_cpus": 1}, {}, 4, ("affinity", "measured with 4 threads on 1 CPUs (affinity)")),
        ({"nice": 10}, {}, 4, ("nice", "measured at nice 10: what else ran went first")),
        ({"others_cpus": 0.9}, {}, 4, ("others", "other work took 0.9 of 4 CPUs meanwhile")),
        ({}, {"busy_s": 240.0}, 4, ("others", "other work took 1 of 4 CPUs meanwhile")),
        ({}, {"stolen_s": 40.0}, 4, ("stolen", "10% of the CPUs' time was taken by this machine's own host meanwhile")),
    ],
)
def test_what_is_said(start, end, threads, expected):
    assert said(start, end, threads) == [expected]


def test_what_is_no_limit_is_not_told():
    assert said({"quota_cpus": 4.0}) == []
    assert said({"affinity_cpus": 2}, threads=2) == []
    assert said({"nice": -5}) == []


def test_run_json_may_say_anything_and_each_line_is_told_once():
    session = {"surroundings": {"start": dict(CALM, nice=5), "end": AFTER}}
    assert of_sessions([session, {}, session], 4) == ["measured at nice 5: what else ran went first"]
    for odd in (None, 1, "x", [1], [{"surroundings": 1}], [{"surroundings": {"start": []}}]):
        assert of_sessions(odd, 4) == []
    for name, value in itertools.product(
        FIELDS, (None, "x", [], {}, True, 1e300, -1e300, 5e-324, float("nan"), 10**400)
    ):
        for when in ("start", "end"):
            noted = {"start": dict(CALM), "end": dict(AFTER)}
            noted[when][name] = value
            of_sessions([{"surroundings": noted}], value)
