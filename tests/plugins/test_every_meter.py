"""Every meter passes the suite; and what each of ours does beside: wraps, rails, absences, damage."""

import itertools
import socket
import sys
import time
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract import plugins
from dime.contract.errors import DeviceError, InputError, TableError
from dime.host.metering import integrate, meters, power, power_trace, recorder
from dime.host.metering.api import Counters, RecordingEndedError, Series, kind_of_options
from dime.host.metering.power_file import PowerFile
from dime.host.metering.recorder import Recorder
from dime.testing.meters import *  # noqa: F403
from dime.testing.meters import Present, record, test_usable_meters_give_the_true_power
from tests.lab.meter import StandInMeter

pytest.mark.alone(test_usable_meters_give_the_true_power)  # it holds the readings' period against the clock

NAMES = plugins.names(meters)
TRUE_W = 2.5
PRINTS = """
import time
print("time power")
number, began = 0, time.monotonic()
while True:
    print(100 + 0.005 * number, 2.5 + 0.004 * (number % 2) - 0.002)
    number += 1
    time.sleep(max(0, began + 0.005 * number - time.monotonic()))
"""


def jetpack4(root):
    folder = root / "bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    folder.mkdir(parents=True)
    found = [("POM_5V_IN", 5000, 500), ("POM_5V_GPU", 4990, 40), ("POM_5V_CPU", 4990, 200)]
    for number, (rail, volts, amperes) in enumerate(found):
        (folder / f"rail_name_{number}").write_text(rail + "\n")
        (folder / f"in_voltage{number}_input").write_text(f"{volts}\n")
        (folder / f"in_current{number}_input").write_text(f"{amperes}\n")
        (folder / f"in_power{number}_input").write_text(f"{volts * amperes // 1000}\n")


def jetpack5(root, rails=(("VDD_IN", 5000, 500), ("VDD_CPU_GPU_CV", 4990, 40)), chip="1-0040/hwmon/hwmon3"):
    folder = root / "bus/i2c/drivers/ina3221" / chip
    folder.mkdir(parents=True)
    for number, (rail, volts, amperes) in enumerate(rails, start=1):
        (folder / f"in{number}_label").write_text(rail + "\n")
        (folder / f"in{number}_input").write_text(f"{volts}\n")
        (folder / f"curr{number}_input").write_text(f"{amperes}\n")
    (folder / "in4_label").write_text("sum of shunt voltages\n")


def agx_orin(root):
    jetpack5(root, [("VDD_GPU_SOC", 20000, 190), ("VDD_CPU_CV", 20000, 100), ("VIN_SYS_5V0", 5000, 900)])
    jetpack5(root, [("NC", 0, 0), ("VDDQ_VDD2_1V8AO", 5000, 200), ("NC", 0, 0)], "1-0041/hwmon/hwmon4")


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


def fake_nvml(fails=None, gpus=1, old=()):
    """NVML with GPUs whose counters move every 20 ms; those that are old have none."""
    module = types.ModuleType("pynvml")

    class NVMLError(Exception):
        pass

    def energy(handle):
        if fails == "energy" or handle in old:
            raise NVMLError("Not Supported")
        return int(int(time.monotonic() / 0.02) * 0.02 * TRUE_W * 1e3)

    def init():
        if fails == "init":
            raise NVMLError("Driver Not Loaded")

    module.NVMLError = NVMLError
    module.nvmlInit, module.nvmlDeviceGetCount = init, lambda: 0 if fails == "none" else gpus
    module.nvmlDeviceGetHandleByIndex, module.nvmlDeviceGetTotalEnergyConsumption = lambda number: number, energy
    return module


@pytest.fixture(
    params=["smartpower3", "smartpower3 udp", "ina3221 iio", "ina3221 hwmon", "rapl", "nvml", "replay", "command"]
)
def present(request, tmp_path, monkeypatch):
    """Each meter, made present on this machine."""
    name, _, form = request.param.partition(" ")
    options = {"root": str(tmp_path / "sys")} if name in ("ina3221", "rapl") else {}
    if name == "ina3221":
        (jetpack4 if form == "iio" else jetpack5)(tmp_path / "sys")
    elif name == "rapl":
        Counter(tmp_path / "sys", monkeypatch)
    elif name == "nvml":
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml())
    elif name == "command":
        options["command"] = f"{sys.executable} -u -c '{PRINTS}'"
    elif form == "udp":
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        with StandInMeter(lambda now_s: TRUE_W, udp=address):
            yield Present(name, {"port": f"udp://127.0.0.1:{address[1]}"})
        return
    else:
        with StandInMeter(lambda now_s: TRUE_W) as meter:
            options |= {"port": meter.port, "baud": 500000}
            if name == "replay":
                record(tmp_path / "recorded.csv", "smartpower3", options)
                replayed = {"recording": str(tmp_path / "recorded.csv")}
                yield Present(name, replayed, origin="replayed", of="smartpower3")
            else:
                yield Present(name, options)
        return
    yield Present(name, options, period_s=0.02 if name == "nvml" else 0.005)


def chosen(name, **given):
    """A meter's options."""
    return kind_of_options(plugins.load(meters, name)).of(**given)


def test_every_meter_is_in_this_suite():
    assert NAMES == ["command", "ina3221", "nvml", "rapl", "replay", "smartpower3"]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_absent_says_so_in_one_line_and_opens_with_the_same_words(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml("init"))
    module = plugins.load(meters, name)
    absent = {"serial": "/dev/ttyNONE7", "root": str(tmp_path)}
    known = kind_of_options(module).has
    options = chosen(name, **{key: value for key, value in absent.items() if known(key)})
    reason = module.available(options)
    assert reason and "\n" not in reason
    with pytest.raises(DeviceError) as caught:
        module.open_meter(options)
    assert name == "replay" or str(caught.value) == reason


@pytest.mark.parametrize(("fails", "words"), [("energy", "it takes a Volta or later"), ("none", "no NVIDIA GPU here")])
def test_gpus_that_cannot_count(monkeypatch, fails, words):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(fails))
    assert words in plugins.load(meters, "nvml").available(chosen("nvml"))
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert "nvidia-ml-py is not installed" in plugins.load(meters, "nvml").available(chosen("nvml"))


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
    reason = plugins.load(meters, "rapl").available(chosen("rapl", root=str(tmp_path)))
    assert "intel-rapl:1/energy_uj may not be read: sudo chmod a+r" in reason


@pytest.mark.parametrize(
    ("channel", "taken", "watts"),
    [
        ("", "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO", 3.8 + 2.0 + 4.5 + 1.0),
        ("VDD_GPU_SOC", "VDD_GPU_SOC", 3.8),
        ("VDD_CPU_CV+VDD_GPU_SOC", "VDD_CPU_CV+VDD_GPU_SOC", 5.8),
    ],
)
def test_rails_are_added_and_with_none_named_it_is_the_whole_board(tmp_path, channel, taken, watts):
    agx_orin(tmp_path)
    record(tmp_path / "log.csv", "ina3221", {"root": str(tmp_path), "channel": channel}, 0.1)
    trace = power_trace.load(tmp_path / "log.csv")
    assert trace.channel == taken == power_trace.read_quality(tmp_path / "log.csv")["channel"]
    assert trace.value == pytest.approx(watts)


def test_a_log_of_many_rails_from_before_is_read_as_the_whole_board(tmp_path):
    rails = [("VDD_GPU_SOC", 2.0), ("VDD_CPU_CV", 3.0), ("VIN_SYS_5V0", 4.0), ("VDDQ_VDD2_1V8AO", 1.0)]
    names = [f"{rail} {what}" for rail, _ in rails for what in ("voltage (mV)", "current (mA)", "power (mW)")]
    row = ",".join(f"5000,{watts * 200:.0f},{watts * 1000:.0f}" for _, watts in rails)
    lines = [f"{5 * number},{row},{1_700_000_000_000_000_000 + 5_000_000 * number}" for number in range(50)]
    (tmp_path / "log.csv").write_text("\n".join([",".join(["time (ms)", *names, "timestamp"]), *lines, ""]))
    assert power_trace.load(tmp_path / "log.csv").value == pytest.approx(10.0)
    assert power_trace.load(tmp_path / "log.csv", "VDD_CPU_CV").value == pytest.approx(3.0)


def several(name, root, monkeypatch):
    if name == "nvml":
        monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(gpus=2))
        return "gpu 0, gpu 1"
    if name == "ina3221":
        jetpack5(root, [("VDD_A", 5000, 100), ("VDD_B", 5000, 100)])
        return "VDD_A, VDD_B"
    Counter(root, monkeypatch)
    for number, zone in ((0, "core"), (1, "uncore")):
        (root / f"class/powercap/intel-rapl:{number}/name").write_text(zone)
    return "core, uncore"


def root_of(name, folder):
    return None if name == "nvml" else str(folder)


@pytest.mark.parametrize("name", ["nvml", "ina3221", "rapl"])
def test_several_parts_and_none_named_is_refused_with_their_names(name, tmp_path, monkeypatch):
    known = several(name, tmp_path, monkeypatch)
    with pytest.raises(InputError) as caught:
        plugins.load(meters, name).open_meter(chosen(name, root=root_of(name, tmp_path)))
    assert f"none is named: choose with --channel one of {known}, or several joined by +" in str(caught.value)
    assert plugins.load(meters, name).available(chosen(name, root=root_of(name, tmp_path))) == str(caught.value)


@pytest.mark.parametrize("name", ["nvml", "ina3221", "rapl"])
@pytest.mark.parametrize("suffix", ["+", "+{first}"])
def test_a_part_is_added_once(name, suffix, tmp_path, monkeypatch):
    first = several(name, tmp_path, monkeypatch).split(",")[0]
    with pytest.raises(InputError, match=r"each part is named once|unknown channel ''"):
        channel = first + suffix.format(first=first)
        plugins.load(meters, name).open_meter(chosen(name, root=root_of(name, tmp_path), channel=channel))


def test_all_packages_of_a_computer_are_counted(tmp_path, monkeypatch):
    Counter(tmp_path, monkeypatch)
    record(tmp_path / "log.csv", "rapl", {"root": str(tmp_path)}, 0.1)
    assert power_trace.load(tmp_path / "log.csv").channel == "package-0+package-1"


def test_only_the_part_that_is_used_is_judged(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", fake_nvml(gpus=2, old=[0]))
    nvml = plugins.load(meters, "nvml")
    assert nvml.available(chosen("nvml", channel="gpu 1")) == ""
    assert "Volta" in nvml.available(chosen("nvml", channel="gpu 0"))
    record(tmp_path / "gpu.csv", "nvml", {"channel": "gpu 1"}, 0.1)
    assert power_trace.load(tmp_path / "gpu.csv").channel == "gpu 1"
    Counter(tmp_path, monkeypatch)
    (tmp_path / "class/powercap/intel-rapl:1/energy_uj").unlink()
    assert plugins.load(meters, "rapl").available(chosen("rapl", root=str(tmp_path), channel="package-0")) == ""
    agx_orin(tmp_path)
    (tmp_path / "bus/i2c/drivers/ina3221/1-0041/hwmon/hwmon4/curr2_input").write_text("")
    ina3221 = plugins.load(meters, "ina3221")
    assert ina3221.available(chosen("ina3221", root=str(tmp_path), channel="VDD_GPU_SOC")) == ""
    assert "curr2_input may not be read" in ina3221.available(chosen("ina3221", root=str(tmp_path)))


@pytest.mark.parametrize("text", ["", "262143.5", "unknown"])
def test_a_range_that_cannot_be_read_is_not_0(tmp_path, monkeypatch, text):
    Counter(tmp_path, monkeypatch)
    (tmp_path / "class/powercap/intel-rapl:0/max_energy_range_uj").write_text(text)
    reason = plugins.load(meters, "rapl").available(chosen("rapl", root=str(tmp_path)))
    assert "intel-rapl:0/max_energy_range_uj may not be read: sudo chmod a+r" in reason
    assert "*/energy_uj" in reason and "*/max_energy_range_uj" in reason


EVENT = st.tuples(st.sampled_from(["run", "restart", "jump"]), st.floats(0, 200), st.floats(0.005, 2.0))


@given(st.lists(EVENT, min_size=2, max_size=40), st.sampled_from([0, 300_000_000, 262_143_328_850]))
def test_no_joule_of_a_counter_is_negative_and_none_is_made_up(events, range_uj):
    """Whatever a counter does, what is counted between two rows that do not break is what the device used."""
    counters, raw, used_uj, now_ns = Counters([range_uj]), 10_000_000, 0, 10**12
    rows = [(*counters.count([raw], now_ns), used_uj, now_ns)]
    for what, power_w, time_s in events:
        step_uj = round(power_w * time_s * 1e6)
        used_uj, now_ns = used_uj + step_uj, now_ns + round(time_s * 1e9)
        raw += step_uj
        if range_uj:
            raw %= range_uj
        if what == "restart":
            raw = 5
        elif what == "jump":
            raw = (raw + 150_000_000_000) % (range_uj or 2**63)
        found = counters.count([raw], now_ns)
        if found is not None:
            rows.append((*found, used_uj, now_ns))
    for (before, _, used_before, _), (after, breaks, used_after, _) in itertools.pairwise(rows):
        assert after[0] >= before[0]
        if not breaks and range_uj == 262_143_328_850:
            assert after[0] - before[0] <= used_after - used_before
    times = np.array([row[3] for row in rows], dtype=np.int64)
    if len(rows) > 2:
        values = np.array([row[0][0] for row in rows]) * 1e-6
        quality = {"breaks_ns": [row[3] for row in rows if row[1]]}
        series = Series("one", "energy", False, values, np.full(len(rows), 1e-6), np.ones(len(rows), bool))
        trace = power_trace.build(series, times // 1_000_000, times, "log", quality)
        found = integrate.measure(trace, times[:-1] + 1, times[1:] - 1, 0.001)
        known = found.energy_j[found.rejected == ""] - found.edge_j[found.rejected == ""]
        assert (known >= -1e-9).all() and (np.diff(trace.value) >= 0).all()


def test_a_counter_that_comes_back_from_a_failed_read_begins_anew(tmp_path, monkeypatch):
    counter, said = Counter(tmp_path / "sys", monkeypatch, wraps_at_uj=262_143_328_850), []
    monkeypatch.setattr(recorder, "REOPEN_AFTER_S", 0.05)
    reader = Recorder("rapl", {"root": str(tmp_path / "sys")}, said.append)
    reader.start(tmp_path / "log.csv")
    reader.begin()
    reader.wait_for_reading()
    time.sleep(0.3)
    other = tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj"
    other.rename(tmp_path / "away")
    time.sleep(0.2)
    (tmp_path / "away").rename(other)
    time.sleep(0.3)
    reader.close("the test")
    trace = power_trace.load(tmp_path / "log.csv")
    assert "the meter is back" in said and trace.segment[-1] == 1 and counter
    middle_ns = trace.epoch_ns + int(trace.time_s[trace.segment == 0][-1] * 1e9)
    edges = np.array([middle_ns - 10**8]), np.array([middle_ns + 4 * 10**8])
    assert integrate.measure(trace, *edges, 0.001).rejected == "across a break in the log"
    assert (np.diff(trace.value) >= 0).all() and trace.value[-1] < TRUE_W * trace.time_s[-1]


@pytest.mark.alone
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
    options = chosen("replay", recording=str(tmp_path / "recorded.csv"), at_once=True)
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
        plugins.load(meters, "replay").open_meter(chosen("replay", recording=str(tmp_path / "x.csv")))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"color": "red"}, "unknown meter option 'color'; known: baud, calibration, channel, serial"),
        ({"period_s": 0.1}, "unknown meter option 'period_s'; known: "),
        ({"baud": "fast"}, "baud: 'fast' is not int"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(InputError, match=words):
        chosen("smartpower3", **options)
    with pytest.raises(InputError, match="is not a time above 0"):
        chosen("rapl", period_s=0.0)
    with pytest.raises(InputError, match="at_once: 'perhaps' is not bool"):
        chosen("replay", at_once="perhaps")
    assert chosen("replay", at_once="false") == chosen("replay")


def test_a_logs_files_are_both_new(tmp_path):
    with StandInMeter(lambda now_s: TRUE_W) as stand_in:
        meter = plugins.load(meters, "smartpower3").open_meter(chosen("smartpower3", port=stand_in.port, baud=500000))
        (tmp_path / "a_quality.json").write_text("mine")
        with pytest.raises(InputError, match=r"a_quality\.json is there already"):
            PowerFile(tmp_path / "a.csv", meter, "")
        assert not (tmp_path / "a.csv").exists()
        meter.close()


@pytest.mark.parametrize("channel", ["", "VDD_GPU_SOC", "VDD_CPU_CV+VDD_GPU_SOC"])
def test_what_was_taken_is_told_by_recorder_and_log(tmp_path, channel):
    agx_orin(tmp_path)
    one = Recorder("ina3221", {"root": str(tmp_path), "channel": channel}, print)
    one.begin()
    one.wait_for_reading()
    one.start(tmp_path / "a.csv")
    time.sleep(0.1)
    expected = channel or "VDD_GPU_SOC+VDD_CPU_CV+VIN_SYS_5V0+VDDQ_VDD2_1V8AO"
    assert one.channel == expected
    one.close("test")
    trace = power_trace.load(tmp_path / "a.csv")
    assert (trace.meter, trace.channel) == ("ina3221", expected)


def test_the_only_channel_that_is_on_is_what_was_taken(tmp_path):
    with StandInMeter(lambda now_s: 2.0) as meter:
        one = Recorder("smartpower3", {"port": meter.port, "baud": 500000}, print)
        assert one.channel == ""
        one.begin()
        one.wait_for_reading()
        assert one.channel == "0"
        meter.states = (1, 1)
        time.sleep(0.3)
        assert one.channel == "", "two are on: which one is meant is not clear"
        one.close("test")


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import sys; print('no such sensor'); sys.exit(3)", "ended with status 3; it last said: no such sensor"),
        ("print(1, 2)", "ended with status 0; it last said: 1 2"),
        ("print('x' * 10**6)", "ended with status 0; it last said: x"),
    ],
)
def test_a_program_that_ends_is_told_with_its_last_words(program, message):
    meter = plugins.load(meters, "command").open_meter(chosen("command", command=f'{sys.executable} -c "{program}"'))
    with pytest.raises(DeviceError, match=message) as raised:
        while True:
            meter.read()
    meter.close()
    assert len(str(raised.value)) < 500


def test_lines_of_a_program_that_are_no_readings_are_counted():
    lines = "\\n".join(
        ["1 2", "2;3.5", "3,1e-3", "nan 1", "4 -1", "5 1e300", "6", "0.5 1", "7 8 9", "1" * 300 + " 1", ""]
    )
    program = f"import time; print('{lines}', flush=True); time.sleep(60)"
    meter = plugins.load(meters, "command").open_meter(chosen("command", command=f'{sys.executable} -c "{program}"'))
    found = []
    until_s = time.monotonic() + 20
    while (len(found) < 3 or meter.faults["lines that are no reading"] < 7) and time.monotonic() < until_s:
        found += meter.read()
    meter.close()
    assert [(sample.time_ms, sample.text) for sample in found] == [
        (0, "0,2000000"),
        (1000, "1000,3500000"),
        (2000, "2000,1000"),
    ]
    assert meter.faults["lines that are no reading"] == 7 and meter.faults["time ran backwards"] == 1


def test_a_program_that_does_not_want_to_end_is_ended():
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(0, 1, flush=True); time.sleep(60)"
    )
    meter = plugins.load(meters, "command").open_meter(chosen("command", command=f'{sys.executable} -c "{program}"'))
    while not meter.read():
        pass
    began = time.monotonic()
    meter.close()
    assert time.monotonic() - began < 10
