"""Documents that no parser of the standard library takes in the usual way: each is one line, never a traceback."""

import pytest

from dime.contract import messages, run
from dime.contract.errors import DimeError
from dime.host.bench import lab
from dime.host.metering import timebase
from dime.host.metering.power_trace import quality_path, read_quality
from dime.host.planning.goals import parse_limits
from dime.host.planning.links import connect
from dime.host.planning.plan import read_plan
from dime.host.report import page as report

DEEP = '{"a":' * 100_000
DOCUMENTS = {
    "deep": DEEP,
    "deep list": "[" * 100_000,
    "digits": "1" * 5000,
    "null": "null",
    "a list": "[]",
    "a text": '"x"',
}
TOML = {"deep": "a = " + "[" * 100_000, "digits": "a = " + "1" * 5000, "deep keys": ".".join("a" * 20_000) + " = 1"}


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
@pytest.mark.parametrize("read", ["plan", "run", "clock", "report", "quality"])
def test_json(tmp_path, content, read):
    readers = {
        "plan": (run.PLAN, lambda: read_plan(tmp_path / run.PLAN)),
        "run": (run.RUN, lambda: run.RunSpec.read(str(tmp_path))),
        "clock": (run.CLOCK, lambda: timebase.read(tmp_path)),
        "report": (report.KEPT, lambda: report.remake(str(tmp_path))),
        "quality": (quality_path(tmp_path / "power.csv").name, lambda: read_quality(tmp_path / "power.csv")),
    }
    name, call = readers[read]
    (tmp_path / name).write_text(content)
    try:
        call()
    except DimeError as error:
        assert name in str(error) and "\n" not in str(error)
    else:
        assert read == "quality" and content[0] in 'n["1'  # what is no object says nothing


@pytest.mark.parametrize("content", DOCUMENTS.values(), ids=DOCUMENTS)
def test_a_device_s_line_is_no_message(content):
    assert messages.decode(content) is None


@pytest.mark.parametrize("content", TOML.values(), ids=TOML)
def test_toml(tmp_path, content):
    (tmp_path / "x.toml").write_text(content)
    for call in (lambda: lab.load(str(tmp_path / "x.toml")), lambda: connect(f"{tmp_path}/x.toml:a", ["nano", "pc"])):
        with pytest.raises(DimeError, match=r"x\.toml") as raised:
            call()
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("private", ["²", "9" * 5000, "٣"])
def test_a_count_that_is_none_is_a_name(private):
    assert parse_limits(private=private).private_layers == (private,)
