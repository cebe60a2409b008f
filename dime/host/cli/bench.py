"""Commands of the lab: doctor, build, push, collect, clean-device."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TypedDict

from dime.contract.errors import DimeError, InputError
from dime.host.cli.options import Built, Collected, Devices, LabFile, NamedDevices, Pushed

if TYPE_CHECKING:
    from dime.host.bench.lab import LabDevice


def doctor(devices: Devices, lab: LabFile) -> None:
    """Tries every part of the lab file: ssh, engine, runtime, clocks, disk, meter; says what is wrong and what to type.

    Examples:
        dime doctor
        dime lab check --device=nano
    """
    from dime.host.bench import lab as lab_file
    from dime.host.campaign import doctor as tries

    failed = 0
    for finding in tries.check(lab_file.load(lab.lab), devices.device):
        print(finding)
        failed += not finding.works
    if failed:
        raise DimeError(f"{failed} of the lab's parts {'does' if failed == 1 else 'do'} not work; see above")


def build(wanted: Built, lab: LabFile) -> None:
    """Builds the images and tries each of them; for a device its own, and the host image for this computer.

    Examples:
        dime build --image=host --platform=linux/amd64
        dime build --device=nano --torch=1.10
    """
    from dime.host.bench import lab as lab_file
    from dime.host.bench.images import build as images

    chosen = [(wanted.image, wanted.platform)]
    if wanted.device:
        chosen = images.for_device(wanted.device, lab_file.load(lab.lab))
    for image, platforms in chosen:
        images.build(image, platforms, wanted.registry, **_variables(wanted.torch))


def push(wanted: Pushed, lab: LabFile) -> None:
    """Builds what has changed and sends it to a registry, with one manifest for all platforms.

    Examples:
        dime push --registry=bench:5000
    """
    from dime.host.bench import lab as lab_file
    from dime.host.bench.images import build as images

    registry = wanted.registry or lab_file.load(lab.lab).registry
    images.push(registry, wanted.image, **_variables(wanted.torch))


class _Variables(TypedDict, total=False):
    """Variables of docker/docker-bake.hcl."""

    torch: str


def _variables(torch: str) -> _Variables:
    return {"torch": torch} if torch else {}


def collect(devices: Devices, wanted: Collected, lab: LabFile) -> None:
    """Fetches the results of runs that ended while nobody was there.

    Examples:
        dime collect --device=nano
    """
    for entry in _remote_devices(devices.device, lab.lab):
        from dime.host.bench import fleet

        folders = fleet.collect(entry, wanted.results)
        for folder in folders:
            print(folder)
        if not folders:
            print(f"{entry.name}: no run that has ended is there", file=sys.stderr)


def clean_device(devices: NamedDevices, lab: LabFile) -> None:
    """Removes what is ours from a device, running or not: containers, results, samples, images.

    Examples:
        dime clean-device --device=nano
    """
    for entry in _remote_devices(devices.device, lab.lab):
        from dime.host.bench import cleanup

        def told(what: str, name: str = entry.name) -> None:
            print(f"{name}: removed {what}", flush=True)

        cleanup.clean(entry, told=told)


def _remote_devices(names: str, lab: str | None) -> list[LabDevice]:
    from dime.host.bench import lab as lab_file

    chosen = lab_file.load(lab).choose(names)
    remote = [device for device in chosen if device.engine != lab_file.LOCAL]
    if not remote:
        local = ", ".join(device.name for device in chosen)
        raise InputError(f"{local}: runs on this computer, where no run is left behind; name a device of the lab file")
    return remote
