"""Profiles devices of the lab: feature maps first, then every bundle timed on each device's own engine, with its meter.

A device with the engine ``local`` runs as a process of its own, one after the other; all others run at once, in
containers on their own engines. Where the lab file names a meter, power is logged meanwhile and joined at the end.
"""

from __future__ import annotations

import os
import secrets
import sys
import threading
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dime.contract.errors import InputError
from dime.contract.power_protocol import TOKEN_VARIABLE
from dime.contract.run import RUN, RunSpec, parse_share
from dime.host.bench import lab as lab_file
from dime.host.bench.engines import process
from dime.host.campaign.naming import Naming, is_made
from dime.host.campaign.profile_options import ProfileOptions

FIRST_PORT, PORTS = 20_000, 10_000


@dataclass(frozen=True)
class _Run:
    """One run to be made: a device, with one of its thread counts, and the folder that receives it."""

    device: lab_file.LabDevice
    name: str
    threads: int
    folder: Path

    @property
    def complete(self) -> bool:
        return (self.folder / RUN).exists() and RunSpec.read(str(self.folder)).state == "complete"


def make_samples(
    net: str,
    source: str = "builtin",
    samples: str = "samples",
    weights: str = "auto",
    naming: Naming | None = None,
) -> str:
    """Makes the inputs of every layer, or verifies those that are there.

    Args:
        net: The network.
        source: builtin, imagenette, or a folder of pictures.
        samples: The folder that holds the feature maps of all networks.
        weights: pretrained, seeded, a file's name, or auto.
        naming: What else is said of a network that is not built in.

    Returns:
        The network's folder.
    """
    naming = naming or Naming()
    spec = naming.spec(net)
    words = ["samples", f"--network={net}", f"--source={source}", f"--samples={samples}", f"--weights={weights}"]
    return process.run([*words, *naming.words()], f"samples {spec.name}", unit="picture")


def profile(
    net: str,
    device: str,
    options: ProfileOptions,
    threads: int | None = None,
    samples: str = "samples",
    weights: str = "auto",
    results: str = "results",
    lab: str | None = None,
    keep: bool = False,
    naming: Naming | None = None,
) -> list[Path]:
    """Profiles a network on each device that is named.

    Args:
        net: The network.
        device: Names or tags of the lab file, joined by commas.
        options: How the profile is taken.
        threads: CPU threads; None takes the lab file's.
        samples: The folder that holds the feature maps.
        weights: pretrained, seeded, a file's name, or auto.
        results: The folder that receives DEVICE/NET.
        lab: The lab file; None takes lab.toml, if there is one.
        keep: Whether complete runs may stay as they are even if all of them are.
        naming: What else is said of a network that is not built in.

    Returns:
        The folders of the runs.

    Raises:
        InputError: A device is unknown, an option has no use, or every run is complete already and ``keep`` is not set.
        DeviceError: A run failed; what it has measured stays, and the same call goes on from there.
    """
    bench = lab_file.load(lab)
    asked, naming = net, naming or Naming()
    if not is_made(net, Path(samples)):
        net = naming.spec(net).name
    runs = list(_runs(bench.choose(device), net, threads, Path(results)))
    options.check(threads, [run.device.name for run in runs])
    for run in runs:
        _check_meter(run.device, bench)
    complete = [run for run in runs if run.complete]
    if len(complete) == len(runs) and not keep:
        raise InputError(f"{', '.join(str(run.folder) for run in runs)}: complete already; nothing was overwritten")
    maps = feature_maps(Path(samples), net)
    if maps is None or asked != net:  # a network that is named by what it is made of must be the one that is there
        maps = Path(make_samples(asked, samples=samples, weights=weights, naming=naming))
    for run in complete:
        print(f"{run.folder} is complete already and was kept", file=sys.stderr)
    missing = [run for run in runs if run not in complete]
    from dime.host.bench import fleet
    from dime.host.bench.session.job import Job

    with ExitStack() as loggers:
        words, tokens = {}, {}
        for run in missing:
            log, tokens[run.name] = loggers.enter_context(_logged(run)) if run.device.meter else ([], "")
            words[run.name] = [f"--network={net}", f"--device={run.name}", f"--board={run.device.board}"]
            words[run.name] += [
                f"--threads={run.threads}",
                f"--weights={weights}",
                *options.words(run.device.name),
                *log,
            ]
        jobs = [
            Job(
                run.device,
                net,
                ("profile", *words[run.name]),
                maps,
                run.folder,
                run.threads,
                online=run.device.meter is not None,
                token=tokens[run.name],
            )
            for run in missing
        ]
        fleet.profile(jobs, bench.registry)
    for run in missing:
        if run.device.meter:
            _join(run.folder, parse_share(options.energy_error) if options.energy_error else 0.0)
    return [run.folder for run in runs]


def feature_maps(samples: Path, net: str) -> Path | None:
    """The folder with one folder a layer, ours or a published one; None where there is none, so that it can be made."""
    if (samples / net).exists():
        return samples / net
    for place in (samples / f"{net}_samples", samples):
        if len({path.parent for path in place.glob("*/*.pt")}) > 1:
            return place
    return None


def _runs(devices: Iterable[lab_file.LabDevice], net: str, threads: int | None, results: Path) -> Iterator[_Run]:
    """A device with several thread counts is run once for each."""
    for device in devices:
        counts = device.threads if threads is None else (threads,)
        for count in counts:
            name = device.name if len(counts) == 1 else f"{device.name}-{count}threads"
            yield _Run(device, name, count, results / name / net)


def _check_meter(device: lab_file.LabDevice, bench: lab_file.Lab) -> None:
    """Makes sure that a meter's options in the lab file are known ones, before anything runs."""
    from dime.contract import plugins
    from dime.host.metering import meters
    from dime.host.metering.api import kind_of_options

    if device.meter:
        try:
            kind_of_options(plugins.load(meters, device.meter.name)).of(**device.meter.options)
        except InputError as error:
            raise InputError(f"{bench.path} [{device.name}]: {error}") from None


@contextmanager
def _logged(run: _Run) -> Iterator[tuple[list[str], str]]:
    """A power logger for one run, in a thread; gives the device side's arguments that reach it, and its token.

    The token is the run's own unless the environment has one. The run's engine hands it over as a file that nobody else
    can read.
    """
    from dime.host.bench import clients
    from dime.host.metering import power

    assert run.device.meter is not None
    meter, address = run.device.meter, clients.address_towards(run.device)
    port = FIRST_PORT + zlib.crc32(run.name.encode()) % PORTS  # the same each time, so that a run that goes on finds it
    options = {"serial" if key == "port" else key: value for key, value in meter.options.items()}
    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_hex(16)
    started, over = threading.Event(), threading.Event()
    failures: list[BaseException] = []

    def serve() -> None:
        try:
            folder = run.folder / "power"
            power.serve(
                address, port, meter.name, folder, token, False, False, lambda _: started.set(), over, **options
            )
        except BaseException as error:
            failures.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait()
    if failures:
        raise failures[0]
    try:
        yield [f"--log-server-addr={address}", f"--log-server-port={port}"], token
    finally:
        over.set()
        thread.join()
    if failures:
        raise failures[0]


def _join(folder: Path, target: float) -> None:
    """Joins a run with its power log and says what a person should know about it."""
    from dime.host.profiles import joint_profile

    for note in joint_profile.join(folder, target=target).notes:
        print(f"{folder}: {note}", file=sys.stderr)
