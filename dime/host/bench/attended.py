"""A verb of the device side in a container that lasts no longer than this command: an end of a link, a stage of a plan.

It is in its host's network and holds its device meanwhile. Whatever ends the command, it is gone afterwards, with
its volume, and clocks are put back; what a command leaves that was killed ends by itself, and the next one removes it.
"""

from __future__ import annotations

import contextlib
import math
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from dime.contract.errors import ConnectionLostError, DeviceError, DimeError
from dime.host.bench import abilities, answers, lock, transfer
from dime.host.bench.connection import RETRY_S, Connection, Wishes
from dime.host.bench.containers import Options
from dime.host.bench.engines import docker as engine
from dime.host.bench.images import deliver
from dime.host.bench.lab import LabDevice
from dime.host.bench.session import results
from dime.host.bench.session.judge import ENDED
from dime.host.bench.session.state import State
from dime.host.common import console, interrupts

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

T = TypeVar("T")
TOKEN = "/results/.token"  # in a volume, whose owner on the board is root; never in the environment or the words
OUT = f"/results/{results.FOLDER}"
POLL_S = 0.5
PATIENCE_S = 20.0  # for a device that is lost to be tidied up


@dataclass(frozen=True)
class Errand:
    """What a container is to do.

    Attributes:
        device: Where.
        words: The device side's arguments, without the token's file, the folder and the feature maps.
        what: What it is, for whoever finds its device held.
        token: A secret; it is handed over as a file, by ``--token``. Empty for none.
        holds: Whether it holds its device; not where another one of this command does.
        network: The network whose feature maps it needs; empty for none.
        samples: Their folder on this computer.
        threads: CPU threads of the numeric libraries; 0 leaves it to them.
        writes: Whether it writes into a folder, `OUT`.
        listens: Whether it goes on until its standard input ends, or it is told to.
    """

    device: LabDevice
    words: Sequence[str]
    what: str
    token: str = ""
    holds: bool = True
    network: str = ""
    samples: Path = Path()
    threads: int = 0
    writes: bool = False
    listens: bool = False


class Attended:
    """The container of an errand; use as a context manager, at whose end nothing of it is left.

    Args:
        errand: What it does.
        registry: The lab's registry; empty for none.
        say: Told in a line what happens.
    """

    poll_s = POLL_S

    def __init__(self, errand: Errand, registry: str, say: Callable[[str], None] | None = None):
        self._errand, self._registry = errand, registry
        name = errand.device.name
        self._say = say or (lambda text: console.tell(text if text.startswith(f"{name}: ") else f"{name}: {text}"))
        self._link = Connection(errand.device, Wishes(), PATIENCE_S)
        self._key = secrets.token_hex(6)
        self._place = answers.Place()
        self._image: Image | None = None
        self._is_made = False

    @property
    def _volume(self) -> str:
        return f"{transfer.RESULTS}{self._key}"

    def __enter__(self) -> Attended:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        is_awaited = kind is None or issubclass(kind, Exception)  # a person who wants to go is not kept
        if kind is not None and issubclass(kind, KeyboardInterrupt) and self._is_made:
            interrupts.relent()
            self._say("takes down what runs there; Ctrl-C again leaves it, and it ends by itself")
        try:
            if self._is_made:
                tidy = f"it is waited for, {PATIENCE_S:g} s at most, so that nothing stays there"
                self._patiently(self._clear, PATIENCE_S if is_awaited else 0.0, tidy)
                self._is_made = False
        except DimeError as error:
            name = self._errand.device.name
            self._say(
                f"{error}. What runs there ends by itself; make clean-device DEVICE={name} removes what it leaves"
            )
        finally:
            self._link.close()

    def _patiently(
        self, action: Callable[[docker.DockerClient], T], patience_s: float | None = None, why: str = ""
    ) -> T:
        """Does something on the engine, which may be away for a while: it is started anew, or its cable was out.

        Args:
            action: What to do.
            patience_s: How long it is waited for; None takes what is usual.
            why: What for, which is told as soon as it is away.
        """
        until_s = time.monotonic() + (PATIENCE_S if patience_s is None else patience_s)
        while True:
            try:
                return self._link.once(action)
            except ConnectionLostError as error:
                if time.monotonic() > until_s:
                    raise
                if why:
                    self._say(f"{error}; {why}")
                why = ""
                time.sleep(RETRY_S)

    def start(self) -> None:
        """Starts it; image and feature maps are brought first.

        Raises:
            DeviceError: The device is held by another, or cannot do it.
        """
        self._link.once(self._start)

    def look(self) -> tuple[State, list[str]]:
        """What it is in, and its lines since the last look; the state first, so that no line is missed.

        Raises:
            ConnectionLostError: Its engine does not answer just now.
            DeviceError: It is gone.
        """
        return self._link.once(self._look)

    def lines(self, until_s: float = math.inf) -> Iterator[str]:
        """What it says until it has ended, or until then."""
        while True:
            state, found = self._patiently(self._look)
            yield from found
            if state.status in ENDED or time.monotonic() > until_s:
                return
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Tells it to end, and waits until it has."""
        self._patiently(self._end)

    def dismiss(self) -> None:
        """Tells it to end, and does not wait: whoever ends several tells all before the first is waited for."""
        with contextlib.suppress(DimeError):  # what did not hear is told again at the end
            self._link.once(lambda client: self._found(client).kill(signal="SIGTERM"))

    def read(self, path: str) -> bytes | None:
        """A small file in it; None if there is none."""
        return self._link.once(lambda client: transfer.read(self._found(client), path))

    def _start(self, client: docker.DockerClient) -> None:
        errand, device = self._errand, self._errand.device
        engine.runtime_known(client, device)
        self._image = deliver.ensure(client, device, self._registry, self._say)
        sweep(client, device, self._image)
        if errand.holds:
            lock.make_way(client, device)
        volumes = {self._volume: {"bind": "/results", "mode": "rw"}}
        words = [*errand.words]
        if errand.network:
            abilities.check(self._image.labels, device, errand.samples)
            samples, files = transfer.digest(errand.samples)
            maps = engine.bring(
                client, device, self._image, errand.network, samples, files, self._say, lambda text: None
            )
            volumes[maps] = {"bind": "/samples", "mode": "ro"}
            words.append("--samples=/samples")
        if errand.token:
            words.append(f"--token={TOKEN}")
        if errand.writes:
            words.append(f"--out={OUT}")
        self._create(client, volumes, words)

    def _create(self, client: docker.DockerClient, volumes: dict[str, dict[str, str]], words: list[str]) -> None:
        import docker.errors

        errand, device = self._errand, self._errand.device
        computes = device if errand.network else replace(device, set_clock=False, gpus="", runtime="")
        options: Options = {
            **engine.rights(computes, errand.threads, "host"),
            "entrypoint": [*transfer.ENTRY, *words],
            "volumes": volumes,
            "stdin_open": errand.listens,
        }
        self._is_made = True
        client.volumes.create(self._volume, labels={transfer.LABEL: "results", transfer.BY: transfer.by()})
        name = lock.HOLD if errand.holds else ""
        try:
            container = transfer.made(
                client, cast("Image", self._image), self._key, name, lock.marks(errand.what), **options
            )
        except docker.errors.APIError as error:
            if error.status_code == 409 and errand.holds:  # somebody was faster
                lock.make_way(client, device)
            raise
        if errand.token:
            transfer.put(container, TOKEN, errand.token.encode())
        try:
            container.start()
        except docker.errors.APIError as error:
            raise DeviceError(engine.start_failure(device, str(error.explanation))) from None

    def _look(self, client: docker.DockerClient) -> tuple[State, list[str]]:
        container = self._found(client)
        return answers.state(container), self._place.new(container)

    def _found(self, client: docker.DockerClient) -> Container:
        found = client.containers.list(all=True, filters={"label": f"dime.key={self._key}"}, ignore_removed=True)
        if not found:
            raise DeviceError(f"{self._errand.device.name}: its container is gone; somebody removed it")
        return found[0]

    def _end(self, client: docker.DockerClient) -> None:
        transfer.end(self._found(client), results.STOP_S)

    def _clear(self, client: docker.DockerClient) -> None:
        assert self._image is not None
        _remove(client, self._errand.device, self._image, self._key, self._volume)


def sweep(client: docker.DockerClient, device: LabDevice, image: Image) -> None:
    """Removes what errands have left whose commands were killed on this computer: ended first, clocks put back.

    Args:
        client: The device's engine.
        device: The device.
        image: Any image of ours there.
    """
    for volume in client.volumes.list(filters={"label": transfer.BY}):
        labels = volume.attrs.get("Labels")
        name = str(volume.name)
        if isinstance(labels, dict) and transfer.is_orphan(labels.get(transfer.BY)):
            _remove(client, device, image, name.removeprefix(transfer.RESULTS), name)


def _remove(client: docker.DockerClient, device: LabDevice, image: Image, key: str, volume: str) -> None:
    """Ends an errand's container and removes it and its volume; clocks that it left fixed are put back first."""
    is_in_order = not device.set_clock
    for container in client.containers.list(all=True, filters={"label": f"dime.key={key}"}, ignore_removed=True):
        transfer.end(container, results.STOP_S)
        container.reload()
        state = answers.state(container)
        is_in_order |= state.status == "created" or (state.status == "exited" and state.code == 0)
    transfer.withdraw(client, key)
    if not is_in_order and transfer.is_there(client, volume):
        results.restore_clocks(client, image, volume, device)
    transfer.discard(client, volume)
