"""Commands of the meter: power serve, log, calibrate, meters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from dime.contract.errors import InputError
from dime.host.cli.options import KnownLoad, MeterName, MeterSetting, MeterSource, PowerLog, PowerServer


def serve(server: PowerServer, meter: MeterName, source: MeterSource, setting: MeterSetting) -> None:
    """Waits for devices to start and stop power logs, by the published protocol.

    A token that devices must prove to know stands in the environment as DIME_POWER_TOKEN. Any address but the
    loopback's wants one, or --open.

    Examples:
        dime power serve 192.168.1.2 5000 --meter=smartpower3 --serial=/dev/ttyUSB0 --baud=500000
    """
    from dime.host.metering import power

    power.serve(
        server.address, server.port, meter.meter, server.folder, keep=server.keep, anyone=server.open,
        **_given(source, setting),
    )  # fmt: skip


def log(wanted: PowerLog, meter: MeterName, source: MeterSource, setting: MeterSetting) -> None:
    """Logs power until Ctrl-C.

    Examples:
        dime power log idle.csv --serial=/dev/ttyUSB0 --baud=500000
        dime power log idle.csv --serial=udp://0.0.0.0:6000
        dime power log idle.csv --meter=command --command='my-meter --every=10ms'
    """
    from dime.host.metering import power

    print(power.log(wanted.output, meter.meter, at_once=wanted.at_once or None, **_given(source, setting)))


def calibrate(load: KnownLoad, meter: MeterName, source: MeterSource, setting: MeterSetting) -> None:
    """Reads the meter at a load whose power is known; each call adds one load to the file, which gives its gain.

    Joins take it by --calibration=FILE, profiles by calibration = "FILE" in the lab file's meter.

    Examples:
        dime power calibrate smartpower3.json --watts=5.02 --watts-error=0.5%
        dime power calibrate smartpower3.json --watts=9.97 --watts-error=0.5%
    """
    from dime.contract.run import parse_share
    from dime.host.metering import power

    made = power.calibrate(
        load.file,
        load.watts,
        parse_share(load.watts_error),
        meter.meter,
        load.seconds,
        **_given(source, setting),
    )
    gain = made.gain()
    print(f"{load.file}: {made.points[-1].read_w:.5g} W read at {load.watts:g} W; gain {gain.factor:.5g}, {gain.told}")


def _given(source: MeterSource, setting: MeterSetting) -> dict[str, Any]:  # Any: what each option is
    """The meter's options, by name."""
    found = {**asdict(source), **asdict(setting)}
    for part in filter(None, str(found.pop("options")).split(",")):
        name, equals, value = part.strip().partition("=")
        if not name or not equals:
            raise InputError(f"--options: '{part}' is not NAME=VALUE")
        found[name] = value
    return found


def meters(source: MeterSource) -> None:
    """Says which meters are usable here, and why the others are not.

    Examples:
        dime power meters
        dime power meters --serial=/dev/ttyUSB1
    """
    from dime.host.metering import power

    for name, reason in power.meters(**asdict(source)).items():
        print(f"{name:12} {reason or 'usable'}")
