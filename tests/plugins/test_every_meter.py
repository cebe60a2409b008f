"""One suite over all meters: opened where it can be, read, logged, and the log read back to the true power."""

import socket
import sys
import time
import types

import numpy as np
import pytest

from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError, TableError
from dime.host import meters, power, power_trace
from dime.host.meters._base import Options, RecordingEndedError
from dime.host.power_file import PowerFile
from dime.host.recorder import Recorder
from tests.lab.meter import StandInMeter

NAMES = plugins.names(meters)
TRUE_W = 2.5


def jetpack4(root):
    folder = root / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    folder.mkdir(parents=True)
    found = [("POM_5V_IN", 5000, 500), ("POM_5V_GPU", 4990, 40), ("POM_5V_CPU", 4990, 200)]
    for number, (rail, volts, amperes) in enumerate(found):
        (folder / f"rail_name_{number}").write_text(rail + "\n")
        (folder / f"in_voltage{number}_input").write_text(f"{volts}\n")
        (folder / f"in_current{number}_input").write_text(f"{amperes}\n")
        (folder / f"in_power{number}_input").write_text(f"{volts * amperes // 1000}\n")


def jetpack5(root):
    folder = root / "bus/i2c/drivers/ina3221/1-0040/hwmon/hwmon3"
    folder.mkdir(parents=True)
    for number, (rail, volts, amperes) in enumerate([("VDD_IN", 5000, 500), ("VDD_CPU_GPU_CV", 4990, 40)], start=1):
        (folder / f"in{number}_label").write_text(rail + "\n")
        (folder / f"in{number}_input").write_text(f"{volts}\n")
        (folder / f"curr{number}_input").write_text(f"{amperes}\n")
    (folder / "in4_label").write_text("sum of shunt voltages\n")


class Counter:
    """Energy counters of a processor that uses TRUE_W in its first package, as files that move when they are read."""

    def __init__(self, root, monkeypatch, wraps_at_uj=262143):
        self.start_s = time.monotonic()
        self.wraps_at_uj = wraps_at_uj
        for number, name in ((0, "package-0"), (1, "package-1")):
            folder = root / f"class/powercap/intel-rapl:{number}"
            folder.mkdir(parents=True)
            (folder / "name").write_text(name)
            (folder / "max_energy_range_uj").write_text(str(wraps_at_uj))
            (folder / "energy_uj").write_text("0")
        (root / "class/powercap/intel-rapl:0/intel-rapl:0:0").mkdir()
        self.path = root / "class/powercap/intel-rapl:0/energy_uj"
        read = type(self.path).read_text

        def read_text(path, *arguments, **named):
            return str(self.now_uj()) if path == self.path else read(path, *arguments, **named)

        monkeypatch.setattr(type(self.path), "read_text", read_text)

    def now_uj(self):
        return int((time.monotonic() - self.start_s) * TRUE_W * 1e6) % self.wraps_at_uj


def fake_nvml(fails=None):
    """NVML with one GPU whose counter moves every 20 ms."""
    module = types.ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def energy(_handle):
        if fails == "energy":
            raise NVMLError("Not Supported")
        return int(int(time.monotonic() / 0.02) * 0.02 * TRUE_W * 1e3)

    def init():
        if fails == "init":
            raise NVMLError("Driver Not Loaded")

    module.NVMLError = NVMLError
    module.nvmlInit, module.nvmlDeviceGetCount = init, lambda: 0 if fails == "none" else 1
    module.nvmlDeviceGetHandleByIndex, module.nvmlDeviceGetTotalEnergyConsumption = lambda number: number, energy
    return module


@pytest.fixture(params=["smartpower3", "smartpower3 udp", "ina3221 iio", "ina3221 hwmon", "rapl", "nvml", "replay"])
def present(request, tmp_path, monkeypatch):
    """Each meter, made present on this machine; gives its name and options."""
    name, _, form = request.param.partition(" ")
    options = {"root": str(tmp_path / "sys")}
    if name == "ina3221":
        (jetpack4 if form == "iio" else jetpack5)(tmp_path / "sys")
    elif name == "rapl":
        Counter(tmp_path / "sys", monkeypatch)
    elif name == "nvml":
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    elif form == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        with StandInMeter(lambda now_s: TRUE_W, udp=address):
            yield name, {"port": f"udp://127.0.0.1:{address[1]}"}
        return
    else:
        with StandInMeter(lambda now_s: TRUE_W) as meter:
            options |= {"port": meter.port, "baud": 500000}
            if name == "replay":
                record(tmp_path / "recorded.csv", "smartpower3", options)
                options = {"recording": str(tmp_path / "recorded.csv")}
            yield name, options
        return
    yield name, options


def record(path, name, options, seconds=0.7):
    recorder = Recorder(name, Options.of(**options), lambda line: None)
    recorder.start(path)
    recorder.begin()
    recorder.wait_for_reading()
    recorder.ended.wait(seconds)
    period_s = recorder.period_s()
    recorder.close("the test")
    return period_s


def test_every_meter_is_in_this_suite():
    assert NAMES == ["ina3221", "nvml", "rapl", "replay", "smartpower3"]


def test_usable_meters_give_the_true_power(present, tmp_path):
    name, options = present
    assert power.meters(**options)[name] == ""
    period_s = record(tmp_path / "log.csv", name, options)
    trace = power_trace.load(tmp_path / "log.csv")
    assert len(trace.time_s) > 10 and (np.diff(trace.time_s) > 0).all() and trace.on.all()
    if trace.kind == "energy":
        watts = (trace.value[-1] - trace.value[0]) / (trace.time_s[-1] - trace.time_s[0])
    else:
        watts = trace.value.mean()
    assert watts == pytest.approx(TRUE_W, rel=0.03 if trace.kind == "energy" else 0.004)
    assert trace.period_s == pytest.approx(0.02 if name == "nvml" else 0.005, rel=0.3)
    assert period_s == pytest.approx(trace.period_s, rel=0.3)
    assert trace.origin == ("replayed" if name == "replay" else "measured")
    assert trace.meter == ("smartpower3" if name == "replay" else name)


def test_single_rows_and_whole_logs_give_the_same(present, tmp_path):
    name, options = present
    record(tmp_path / "log.csv", name, options, 0.2)
    trace = power_trace.load(tmp_path / "log.csv")
    header, *rows = (tmp_path / "log.csv").read_text().splitlines()
    module = plugins.load(meters, name)
    reading = module.reading(header.split(",")[:-1], "")
    values = [reading(row.split(",")[:-1])[0] for row in rows]
    assert values == pytest.approx(trace.value.tolist(), rel=1e-9)


def test_an_unknown_channel_lists_the_known_ones(present):
    name, options = present
    with pytest.raises(InputError, match="unknown channel 'no such'; known: "):
        plugins.load(meters, name).open_meter(Options.of(**options, channel="no such"))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_absent_says_so_in_one_line_and_opens_with_the_same_words(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml("init"))
    options = Options.of(port="/dev/ttyNONE7", root=str(tmp_path))
    module = plugins.load(meters, name)
    reason = module.available(options)
    assert reason and "\n" not in reason
    with pytest.raises(DeviceError) as caught:
        module.open_meter(options)
    assert name == "replay" or str(caught.value) == reason


@pytest.mark.parametrize(("fails", "words"), [("energy", "it takes a Volta or later"), ("none", "no NVIDIA GPU here")])
def test_gpus_that_cannot_count(monkeypatch, fails, words):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(fails))
    assert words in plugins.load(meters, "nvml").available(Options())
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in plugins.load(meters, "nvml").available(Options())


def test_counters_go_on_across_a_wrap(tmp_path, monkeypatch):
    counter = Counter(tmp_path, monkeypatch, wraps_at_uj=100_000)
    record(tmp_path / "log.csv", "rapl", {"root": str(tmp_path)}, 0.5)
    trace = power_trace.load(tmp_path / "log.csv")
    assert (np.diff(trace.value) >= 0).all()
    assert trace.value[-1] - trace.value[0] > 5 * counter.wraps_at_uj * 1e-6


def test_several_counters_may_be_added(tmp_path, monkeypatch):
    Counter(tmp_path, monkeypatch)
    record(tmp_path / "log.csv", "rapl", {"root": str(tmp_path), "channel": "package-0+package-1"}, 0.2)
    trace = power_trace.load(tmp_path / "log.csv")
    assert trace.channel == "package-0+package-1"
    assert trace.value == pytest.approx(power_trace.load(tmp_path / "log.csv", "package-0").value)


def test_counters_that_may_not_be_read(tmp_path, monkeypatch):
    Counter(tmp_path, monkeypatch)
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").unlink()
    reason = plugins.load(meters, "rapl").available(Options.of(root=str(tmp_path)))
    assert "intel-rapl:1/energy_uj may not be read: sudo chmod a+r" in reason


def test_a_recording_at_once_keeps_its_times_and_at_its_pace_takes_as_long(tmp_path):
    with StandInMeter(lambda now_s: TRUE_W) as meter:
        record(tmp_path / "recorded.csv", "smartpower3", {"port": meter.port, "baud": 500000}, 1.0)
    recorded = (tmp_path / "recorded.csv").read_text()
    power.log(tmp_path / "copy.csv", "replay", recording=tmp_path / "recorded.csv", at_once=True)
    assert (tmp_path / "copy.csv").read_text() == recorded
    qualities = [power_trace.read_quality(tmp_path / f"{name}.csv") for name in ("recorded", "copy")]
    assert [(one["origin"], one["wire_s"]) for one in qualities] == [("measured", 0.00162), ("replayed", 0.00162)]
    began_s = time.monotonic()
    power.log(tmp_path / "paced.csv", "replay", recording=tmp_path / "recorded.csv")
    assert 0.8 < time.monotonic() - began_s < 3
    paced, first = (power_trace.load(tmp_path / f"{name}.csv") for name in ("paced", "copy"))
    assert paced.time_s == pytest.approx(first.time_s, abs=0.002) and paced.epoch_ns > first.epoch_ns


def test_damaged_rows_of_a_recording_are_counted(tmp_path):
    with StandInMeter(lambda now_s: TRUE_W) as meter:
        record(tmp_path / "recorded.csv", "smartpower3", {"port": meter.port, "baud": 500000}, 0.3)
    lines = (tmp_path / "recorded.csv").read_text().splitlines()
    lines[5] = lines[5].rpartition(",")[0]
    lines[7] = lines[7].replace(",05011,", ",0x011,")
    (tmp_path / "recorded.csv").write_text("\n".join(lines))
    options = Options.of(recording=str(tmp_path / "recorded.csv"), at_once=True)
    meter = plugins.load(meters, "replay").open_meter(options)
    rows = []
    with pytest.raises(RecordingEndedError):
        while True:
            rows += meter.read()
    assert meter.faults == {"lines read": len(lines) - 1, "short lines": 2, "damaged rows": 1}
    assert len(rows) == len(lines) - 4
    meter.close()


def test_a_file_that_is_no_recording(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(TableError, match=r"is no power log: it needs the columns time \(ms\) and, as its last, timest"):
        plugins.load(meters, "replay").open_meter(Options.of(recording=str(tmp_path / "x.csv")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"color": "red"}, "unknown meter option 'color'; known: at_once, baud, channel"),
        ({"baud": "fast"}, "baud: 'fast' is not int"),
        ({"period_s": 0.0}, "is not a time above 0"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(InputError, match=words):
        Options.of(**options)


def test_a_logs_files_are_both_new(tmp_path):
    with StandInMeter(lambda now_s: TRUE_W) as stand_in:
        meter = plugins.load(meters, "smartpower3").open_meter(Options.of(port=stand_in.port, baud=500000))
        (tmp_path / "a_quality.json").write_text("mine")
        with pytest.raises(InputError, match=r"a_quality\.json is there already"):
            PowerFile(tmp_path / "a.csv", meter, "")
        assert not (tmp_path / "a.csv").exists()
        meter.close()
