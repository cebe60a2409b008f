"""A logger that meets trouble: full disks, closed terminals, faults of its own, links and ports that would write."""

import errno
import signal
import time

import pytest

from dime.contract.errors import DeviceError, InputError
from dime.host.metering import power, recorder
from dime.host.metering.meters import smartpower3
from tests.host.powered import Client, Logger, quality_of, serving, wait_for_rows, wave
from tests.lab.meter import StandInMeter


@pytest.fixture
def meter():
    with StandInMeter(wave) as one:
        yield one


def test_a_port_that_would_write_a_file_is_refused(tmp_path):
    made = tmp_path / "F"
    with pytest.raises(InputError, match="a port is a path such as"):
        smartpower3.open_meter(smartpower3.Options.of(port=f"SPY:///dev/ttyS9?file={made}"))
    assert not made.exists()


def test_the_quality_file_is_never_written_through_a_link(meter, tmp_path):
    out, target = tmp_path / "out", tmp_path / "target"
    out.mkdir()
    target.write_text("precious")
    with serving(meter, out) as (port, _):
        (out / "a_quality.json.part").symlink_to(target)
        assert b"is there already" in Client(port)(b"start,a.csv")
        assert Client(port)(b"start,b.csv") == b"started"
        (out / "b_quality.json.part").symlink_to(target)
        time.sleep(1.2)
        Client(port)(b"stop")
    assert target.read_text() == "precious" and quality_of(out / "b.csv")["state"] == "complete"


def test_a_start_after_a_full_disk_is_not_refused_for_the_log_before(meter, tmp_path, monkeypatch):
    with serving(meter, tmp_path) as (port, _):
        Client(port)(b"start,a.csv")
        write = recorder.PowerFile.write

        def full(log, samples):
            if log.path.name == "a.csv":
                raise OSError(errno.ENOSPC, "No space left on device")
            write(log, samples)

        monkeypatch.setattr(recorder.PowerFile, "write", full)
        time.sleep(0.5)
        assert Client(port)(b"start,b.csv") == b"started"
        wait_for_rows(tmp_path / "b.csv", 30)
        assert Client(port)(b"stop") == b"stopped"
    assert quality_of(tmp_path / "b.csv")["rows"] > 20


def test_a_closed_terminal_completes_a_log_made_by_hand(meter, tmp_path):
    log = tmp_path / "x.csv"
    logger = Logger(f"power.log({str(log)!r}, serial={meter.port!r}, baud=500000)")
    wait_for_rows(log, 100)
    code, _ = logger.end(signal.SIGHUP)
    assert code == 0 and quality_of(log)["state"] == "complete"


def test_a_server_goes_on_without_its_terminal_and_its_standard_error(meter, tmp_path):
    logger = Logger(f"power.serve(port=0, folder={str(tmp_path)!r}, serial={meter.port!r}, baud=500000)")
    port = int(logger.until("waiting for devices").rsplit(":", 1)[1])
    logger.process.stderr.close()
    assert Client(port)(b"start,a.csv") == b"started"
    logger.process.send_signal(signal.SIGHUP)
    wait_for_rows(tmp_path / "a.csv", 60)
    assert Client(port)(b"stop") == b"stopped"
    assert Client(port)(b"shutdown") == b"ack_shutdown"
    assert logger.process.wait(10) == 0
    assert quality_of(tmp_path / "a.csv")["rows"] > 50


def test_a_fault_of_our_own_ends_the_command_with_one_line(meter, tmp_path, monkeypatch):
    monkeypatch.setattr(recorder.PowerFile, "write", lambda log, samples: 1 / 0)
    with pytest.raises(DeviceError, match="the logger failed: ZeroDivisionError"):
        power.log(tmp_path / "y.csv", serial=meter.port, baud=500000)
