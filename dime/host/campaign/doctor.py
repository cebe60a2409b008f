"""Tries every part of the lab file on the devices themselves, and says what is wrong and what to type."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dime.contract import messages
from dime.contract.errors import DeviceError, DimeError, nearest
from dime.host.bench import answers, clients, engines, lock, transfer
from dime.host.bench.containers import Rights
from dime.host.bench.engines import process
from dime.host.bench.images import deliver
from dime.host.bench.lab import LOCAL, Lab, LabDevice
from dime.host.bench.transfer import ENTRY

if TYPE_CHECKING:
    import docker
    from docker.models.images import Image
    from typing_extensions import Unpack

LEAST_DISK_BYTES = 1e9  # for feature maps and results; the image is there by then
LARGEST_OFFSET_S = 2.0
CONTAINER_S = 120.0
METER_S = 3.0


class _HeldError(DimeError):
    """Somebody else has the device."""


@dataclass(frozen=True)
class Finding:
    """One part of the lab that was tried: its device, what it is, whether it works, and what was found or is to do."""

    device: str
    what: str
    works: bool
    text: str

    def __str__(self) -> str:
        return f"{self.device:12} {'ok  ' if self.works else 'FAIL'} {self.what:10} {self.text}"


def check(lab: Lab, names: str = "all") -> Iterator[Finding]:
    """Tries the devices one after the other; nothing on them is changed but that their image may be fetched.

    Each container that is started there holds the device as a run does; on a device that somebody holds none is.

    Args:
        lab: The lab.
        names: Names or tags of devices.

    Yields:
        What was found, as it comes. A device that cannot be reached has no further findings.
    """
    for device in [LabDevice(LOCAL)] if names == "all" and not lab.devices else lab.choose(names):
        read = False
        is_apart = engines.of(device).is_apart
        if not is_apart:
            yield Finding(device.name, "engine", True, "none is needed: runs in this computer's own Python")
        else:
            for finding in _engine(device, lab.registry):
                read = read or finding.what == "meter"
                yield finding
        if device.meter and not read:
            yield _meter(device, None if is_apart else _spin)


def _engine(device: LabDevice, registry: str) -> Iterator[Finding]:
    name = device.name
    try:
        with clients.connect(device) as client, clients.translated(device):
            version, info = client.version(), client.info()
            if device.host:
                yield Finding(name, "ssh", True, f"{device.engine.removeprefix('ssh://')}: key and host key are right")
            text = f"Docker {version['Version']} on {version['Os']}/{version['Arch']}, {info['NCPU']} processors"
            yield Finding(name, "engine", True, text)
            yield _runtime(device, sorted(info.get("Runtimes", {})), info.get("DefaultRuntime", "default"))
            if holder := lock.holder(client):
                yield Finding(name, "held", True, f"by {holder}: image, disk, clocks and network are not tried")
                return
            said: list[str] = []
            try:
                image = deliver.ensure(client, device, registry, said.append)
            except DimeError as error:
                yield Finding(name, "image", False, str(error).removeprefix(f"{name}: "))
                return
            yield Finding(name, "image", True, f"{'; '.join(said)}, for {image.attrs['Architecture']}")
            yield from _disk_and_clock(client, device, image)
            yield _board(client, device, image)
            yield _smoke(client, device, image)
            if device.meter:
                yield _meter(device, lambda: _output(client, device, image, [*ENTRY, "busy"]))
    except answers.EarlierImageError as error:
        yield Finding(name, "image", False, str(error))
    except _HeldError as error:
        yield Finding(name, "held", True, f"{str(error).removeprefix(f'{name}: is held ')}; what follows is not tried")
    except DimeError as error:
        yield Finding(name, "engine", False, str(error).removeprefix(f"{name}: "))


def _runtime(device: LabDevice, known: list[str], usual: str) -> Finding:
    if device.runtime and device.runtime not in known:
        slip = nearest(device.runtime, known)
        remedy = slip or "; install nvidia-container-runtime there"
        text = f"the engine has no '{device.runtime}', only {', '.join(known)}{remedy}"
        return Finding(device.name, "runtime", False, text)
    return Finding(device.name, "runtime", True, device.runtime or usual)


def _output(
    client: docker.DockerClient, device: LabDevice, image: Image, words: list[str], **options: Unpack[Rights]
) -> list[str]:
    """What a short-lived container printed, which held the device meanwhile.

    Raises:
        _HeldError: Somebody else holds the device.
    """
    import docker.errors

    try:
        lock.make_way(client, device)
    except DeviceError as error:
        raise _HeldError(str(error)) from None
    try:
        with transfer.helper(
            client, image, "", True, lock.HOLD, lock.marks("the doctor"), entrypoint=words, **options
        ) as container:
            transfer.wait(container, CONTAINER_S)
            return answers.output(container, errors=True)
    except docker.errors.APIError as error:
        if error.status_code == 409:  # somebody was faster
            raise _HeldError(f"{device.name}: is held by {lock.holder(client) or 'somebody'}") from None
        raise


def _disk_and_clock(client: docker.DockerClient, device: LabDevice, image: Image) -> Iterator[Finding]:
    before_s = time.time()
    lines = _output(client, device, image, [*ENTRY, "probe"])
    after_s = time.time()
    facts = answers.facts(answers.described(lines, "probe"), {"free_bytes": None, "time_s": None}, ())
    if facts is None:
        yield Finding(device.name, "container", False, f"does not run Python: {answers.words(lines) or 'no output'}")
        return
    free = facts.numbers["free_bytes"]
    text = f"{free / 1e9:.1f} GB free"
    few = free < LEAST_DISK_BYTES
    yield Finding(device.name, "disk", not few, text + (f"; make clean-device DEVICE={device.name}" if few else ""))
    outside_s = max(before_s - facts.numbers["time_s"], facts.numbers["time_s"] - after_s, 0.0)
    wrong = outside_s > LARGEST_OFFSET_S
    text = f"{outside_s:.0f} s off; type there: sudo timedatectl set-ntp true" if wrong else "agrees with ours"
    yield Finding(device.name, "clock", not wrong, text)


def _board(client: docker.DockerClient, device: LabDevice, image: Image) -> Finding:
    """What the board is, and whether its clocks can be fixed: the lowest and the highest are, and put back."""
    name = device.name
    options: Rights = {"privileged": True, "user": "0:0", "cap_drop": None} if device.set_clock else {}
    words = [*ENTRY, "board", f"--device={name}", f"--board={device.board}"]
    lines = _output(client, device, image, [*words, *(["--set-clocks"] if device.set_clock else [])], **options)
    facts = answers.facts(answers.described(lines, "board"), {"steps": 0}, ("model", "error"))
    if facts is None:
        return Finding(name, "board", False, answers.words(lines) or "says nothing")
    model = facts.texts["model"] or device.board
    if not device.set_clock:
        return Finding(name, "board", True, f"{model}, clock left alone")
    steps, trouble = facts.numbers["steps"], facts.texts["error"]
    if not steps:
        return Finding(name, "board", False, f"{model}; its clocks cannot be set: {trouble or 'it has none'}")
    return Finding(name, "board", True, f"{model}, {steps} frequencies; the lowest and the highest were set")


def _smoke(client: docker.DockerClient, device: LabDevice, image: Image) -> Finding:
    """Whether a network really runs there, on the GPU too where there is one."""
    words = [*ENTRY, "smoke", f"--device={device.name}", f"--board={device.board}"]
    options: Rights = {"runtime": device.runtime or None}
    options |= clients.gpus(device)
    lines = _output(client, device, image, words, **options)
    said = [message for message in map(messages.decode, reversed(lines)) if message]
    described = next((message["facts"] for message in said if message["kind"] == "description"), None)
    facts = answers.facts(described, {}, ("torch", "gpu", "processor"))
    if facts is None:
        told = next((message["text"] for message in said if message["kind"] == "error"), "")[: answers.ERROR_WORDS]
        text = told or answers.words(lines) or "illegal instruction, or nothing said"
        return Finding(device.name, "network", False, text)
    gpu, processor = facts.texts["gpu"], facts.texts["processor"]
    on = f"{gpu} and the CPU agree" if gpu else f"on the {processor.upper()}"
    return Finding(device.name, "network", True, f"alexnet runs with torch {facts.texts['torch']}: {on}")


def _meter(device: LabDevice, busy: Callable[[], object] | None = None) -> Finding:
    """Whether the meter sends readings, and whether they can be the device's power."""
    from dime.host.metering import judging

    assert device.meter is not None
    found = judging.try_meter(device.meter.name, device.meter.options, METER_S, busy)
    return Finding(device.name, "meter", found.works, found.text)


def _spin() -> None:
    """Keeps this computer's processors busy."""
    subprocess.run([*process.ENTRY, "busy"], check=False, timeout=CONTAINER_S)
