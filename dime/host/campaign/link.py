"""Measures the link between two devices: one answers, the other sends; then round trip and rates are fitted.

Without a lab file both are processes of this computer, with one each runs where its engine is. Between processes a link
may be emulated, by which the whole way is tried; what is measured then is called emulated.
"""

from __future__ import annotations

import os
import platform
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from datetime import datetime, timezone
from itertools import count
from pathlib import Path

import dime
from dime.contract import files
from dime.contract.errors import DeviceError, InputError, TableError
from dime.contract.frames import LOOPBACK
from dime.contract.run import RUN, check_options, parse_name
from dime.host.bench import engines, link_ends
from dime.host.bench import lab as lab_file
from dime.host.common import places
from dime.host.planning.links import FOLDER, Link, load_link
from dime.host.profiles import link_profile
from dime.host.profiles.link_profile import LinkProfile
from dime.host.profiles.profiles import load_profile

HERE = lab_file.LabDevice(lab_file.LOCAL)  # this computer


def measure(
    edge: str,
    server: str,
    *,
    net: str | None = None,
    largest_bytes: int = 1_000_000,
    iterations: int = 10,
    runs: int = 3,
    time_limit_s: float = 120.0,
    emulate: str | Link | None = None,
    results: str = "results",
    lab: str | None = None,
) -> LinkProfile:
    """Measures the link between two devices.

    Args:
        edge: The device that the bytes go up from.
        server: The other one.
        net: A network that was profiled, whose largest tensor is the largest size; None: ``largest_bytes``.
        largest_bytes: The largest size.
        iterations: Passes over all sizes.
        runs: Exchanges of each size and direction in a pass.
        time_limit_s: No pass is begun that would end later; three are made in any case.
        emulate: A link, or one by name or numbers, that is put between the two.
        results: The folder that receives links/EDGE-SERVER/NUMBER, and that holds DEVICE/NET.
        lab: The lab file; None takes lab.toml, if there is one.

    Returns:
        What was found; its document and the raw rows are in the folder of its ``path``.

    Raises:
        InputError: A device or link is unknown, or a number has no use.
        DeviceError: A device cannot do its part.
    """
    check_options({"iterations": iterations, "runs": runs})
    if not 0 <= time_limit_s <= 1e6:
        raise InputError(f"the time limit is {time_limit_s:g} s; it must be from 0 to a million")
    for name in (edge, server):
        parse_name(name)
    if edge == server:
        raise InputError(f"a link joins two devices, not {edge} to itself")
    bench = lab_file.load(lab)
    ends = [_one(bench, name) for name in (edge, server)]
    if emulate and any(engines.of(one).is_apart for one in ends):
        raise InputError("a link is emulated between processes of this computer; leave out emulate for containers")
    between = load_link(emulate) if isinstance(emulate, str) and emulate else emulate or None
    sizes = link_profile.sizes(_largest(net, Path(results)) if net else largest_bytes)
    name = f"{edge}-{server}"
    above = Path(results, FOLDER, name)
    places.check(above)
    with tempfile.TemporaryDirectory(prefix="dime-link-") as aside:
        token = Path(aside, "token")
        token.touch(0o600)
        token.write_text(secrets.token_hex(32))
        words = [f"--sizes={','.join(map(str, sizes))}"]
        counts = [f"--iterations={iterations}", f"--runs={runs}", f"--time-limit-s={time_limit_s!r}"]
        table = Path(aside, "out", link_profile.TABLE)
        where, alone = link_ends.address(ends[0], ends[1]), ends[0].engine != ends[1].engine
        with ExitStack() as stack:
            answer = ["answer", *words, f"--address={where}"]
            said = stack.enter_context(link_ends.answering(ends[1], answer, token, bench.registry, alone))
            port = _port(said, server)
            shaped: list[dict[str, object]] = []
            if between is not None:
                shaped = stack.enter_context(emulated(between, (LOOPBACK, port)))
                port = _port(shaped[0].get("port"), between.name)
            call = ["link", *words, *counts, f"--target-address={where}", f"--target-port={port}"]
            link_ends.measure(ends[0], call, token, bench.registry, table, f"link {name}")
        kept = next((facts["kept"] for facts in shaped[1:] if "kept" in facts), {})
        rows = link_profile.read_transfers(table)
        found = link_profile.fit(
            rows,
            name,
            edge,
            server,
            "measured" if between is None else "emulated",
            made_utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            computer=platform.node(),
            python=platform.python_version(),
            dime=dime.__version__,
            sizes_bytes=sizes,
            runs=runs,
            emulated=None if between is None else {**asdict(between), "kept": kept},
        )
        return _keep(found, table, above)


def _one(bench: lab_file.Lab, name: str) -> lab_file.LabDevice:
    """A device; without a lab file any name is a process of this computer."""
    if not bench.devices:
        return lab_file.LabDevice(name)
    (found,) = bench.choose(name)
    return found


def _largest(net: str, results: Path) -> int:
    """Bytes of a network's largest tensor, by any profile of it.

    Raises:
        InputError: There is none.
    """
    folders = sorted(path.parent for path in results.glob(f"*/{re.sub(r'[^A-Za-z0-9_.-]', '_', net)}/{RUN}"))
    for folder in folders:
        try:
            sizes = load_profile(str(folder)).sizes_bytes
        except TableError:
            continue
        if sizes:
            return max(sizes)
    raise InputError(
        f"there is no profile of {net} in {results} whose tensors have sizes: name the largest, LARGEST=602kB"
    )


@contextmanager
def emulated(
    link: Link, target: tuple[str, int], device: lab_file.LabDevice = HERE, address: str = LOOPBACK, registry: str = ""
) -> Iterator[list[dict[str, object]]]:
    """A link to an address, emulated in a process of its own.

    Args:
        link: The link.
        target: What is behind it.
        device: Where it runs, and this command holds; else on this computer.
        address: Where it listens there.
        registry: The lab's registry; empty for none.

    Returns:
        The facts that it says: its port at once, and when it has ended how well it was kept.
    """
    words = [
        "shape",
        f"--address={address}",
        f"--target-address={target[0]}",
        f"--target-port={target[1]}",
        f"--up-bit-s={link.upload_bit_s!r}",
        f"--down-bit-s={link.download_bit_s!r}",
        f"--round-trip-s={link.round_trip_s!r}",
        *([] if link.duplex else ["--half-duplex"]),
    ]
    with link_ends.serving(device, words, f"link {link.name}", registry) as said:
        yield said


def _port(port: object, name: str) -> int:
    if not isinstance(port, int) or not 0 < port < 65536:
        raise DeviceError(f"{name}: does not say where it listens")
    return port


def _keep(found: LinkProfile, table: Path, above: Path) -> LinkProfile:
    """Puts both files into the next free folder."""
    folder = next(path for number in count(1) if not (path := above / f"{number:03}").exists())
    try:
        above.mkdir(parents=True, exist_ok=True)
        with files.making(folder) as part:
            link_profile.write(found, part)
            files.new(Path(part, link_profile.TABLE), table.read_bytes())
    except OSError as error:
        raise InputError(f"{os.fspath(folder)}: {error.strerror}") from None
    return link_profile.read(folder)
