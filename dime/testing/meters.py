"""What every meter must do. The test file that takes this suite has a fixture ``present`` that gives a `Present`.

A Present is the meter, made present on this machine: its plug-in's name, its options, and the power that it shows.
"""

from dataclasses import dataclass, field

import numpy as np
import pytest

from dime.contract import plugins
from dime.contract.errors import InputError
from dime.host.metering import meters, power, power_trace
from dime.host.metering.api import kind_of_options
from dime.host.metering.recorder import Recorder


@dataclass(frozen=True)
class Present:
    """A meter that is there.

    Attributes:
        name: The plug-in's name.
        options: Its options.
        power_w: The power that it shows.
        period_s: Time between its readings.
        origin: Of its readings.
        of: The meter that its log names.
    """

    name: str
    options: dict = field(default_factory=dict)
    power_w: float = 2.5
    period_s: float = 0.005
    origin: str = "measured"
    of: str = ""


def record(path, name, options, seconds=0.7):
    recorder = Recorder(name, options, lambda line: None)
    recorder.start(path)
    recorder.begin()
    recorder.wait_for_reading()
    recorder.ended.wait(seconds)
    period_s = recorder.period_s()
    recorder.close("the test")
    return period_s


def test_usable_meters_give_the_true_power(present, tmp_path):
    name, options = present.name, present.options
    assert power.meters(**options)[name] == ""
    period_s = record(tmp_path / "log.csv", name, options)
    trace = power_trace.load(tmp_path / "log.csv")
    assert len(trace.time_s) > 10 and (np.diff(trace.time_s) > 0).all() and trace.on.all()
    if trace.kind == "energy":
        watts = (trace.value[-1] - trace.value[0]) / (trace.time_s[-1] - trace.time_s[0])
    else:
        watts = trace.value.mean()
    assert watts == pytest.approx(present.power_w, rel=0.03 if trace.kind == "energy" else 0.004)
    assert trace.period_s == pytest.approx(present.period_s, rel=0.3)
    assert period_s == pytest.approx(trace.period_s, rel=0.3)
    assert trace.origin == present.origin
    assert trace.meter == (present.of or name)


def test_single_rows_and_whole_logs_give_the_same(present, tmp_path):
    name, options = present.name, present.options
    record(tmp_path / "log.csv", name, options, 0.2)
    trace = power_trace.load(tmp_path / "log.csv")
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    module = plugins.load(meters, name)
    reading = module.reading(header.split(",")[:-1], "")
    values = [reading(row.split(",")[:-1])[0] for row in rows]
    assert values == pytest.approx(trace.value.tolist(), rel=1e-9)


def test_an_unknown_channel_lists_the_known_ones(present):
    name, options = present.name, present.options
    with pytest.raises(InputError, match="unknown channel 'no such'; known: "):
        module = plugins.load(meters, name)
        module.open_meter(kind_of_options(module).of(**options, channel="no such"))
