"""One run on one device's engine: started once, found again by its label, followed, collected, and only then removed.

A device profiles for one person at a time: the name of the run's container is the lock. Whoever gives the same command
again, from whichever computer, finds the run by its key and follows on.
"""

from __future__ import annotations

import enum
import hashlib
import json
import os
import re
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dime.contract import messages
from dime.contract.errors import ConnectionLostError, DeviceError, DimeError, NotLetInError, TableError
from dime.contract.run import LEDGER, RUN, RunSpec
from dime.host.bench import abilities, answers, engines, folders, holding, images, volumes
from dime.host.bench.connection import DetachedError, Link, Wishes
from dime.host.bench.holding import HOLD, make_way
from dime.host.bench.lab import Device
from dime.host.common import progress
from dime.host.common.units import plain

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

FOLDER = "run"  # of the results in their volume
POLL_S = 1.0
STOP_S = 60.0
RESTARTS = 3  # in a row without a finished bundle between them
ENTRY = ["python3", "-m", "dime.device"]
TOKEN = "/results/.power_token"  # in the results' volume, whose owner on the board is root; never in the environment


class Stage(enum.Enum):
    """How far a run has got: what is kept of it if nobody waits any longer."""

    BRINGING = "nothing of it runs there; what has arrived there stays, the same command goes on"
    STARTING = "its run may have begun just now; the same command finds it"
    RUNNING = "the run goes on; the same command follows it again"
    STOPPING = "the run was told to stop; the same command finds what is kept of it"
    FETCHING = "the run has ended; its results are there, the same command fetches them"
    HOME = "its results are here"


@dataclass(frozen=True)
class Job:
    """What is to be profiled where.

    Attributes:
        device: The lab file's entry.
        network: The network's name.
        words: The device side's arguments without --samples and --out.
        samples: The folder of the network's feature maps on this computer.
        out: The run's folder on this computer.
        threads: CPU threads of the numeric libraries; 0 leaves it to them.
        online: Whether the container needs the network, as for a power log.
        token: What the power logger wants proved; it is handed over as the file `TOKEN`.
    """

    device: Device
    network: str
    words: tuple[str, ...]
    samples: Path
    out: Path
    threads: int = 0
    online: bool = False
    token: str = field(default="", repr=False)


class Run:
    """One job on its device; its ``stage`` says how far it is.

    Args:
        job: The job.
        registry: Where the device pulls from; empty for none.
        wishes: What the person wants meanwhile.
        say: Told in one line what happens.
        status: Called with a short text while something is on its way.
        link: The connection; a new one if None.
    """

    def __init__(
        self,
        job: Job,
        registry: str,
        wishes: Wishes,
        say: Callable[[str], None],
        status: Callable[[str], None],
        link: Link | None = None,
    ):
        self._job, self._registry, self._wishes, self._say, self._status = job, registry, wishes, say, status
        self.stage = Stage.BRINGING
        self._link = link or Link(job.device, wishes)
        self._key = ""
        self._image: Image | None = None
        self._finished = 0
        self._total = 0
        self._is_new = False
        self._place, self._messages = answers.Place(), answers.Messages()
        self._last_words: deque[str] = deque(maxlen=3)

    def __call__(self) -> Path:
        """Does all of it.

        Returns:
            The run's folder.

        Raises:
            DeviceError: In one line: what failed, where, and what to do.
            DetachedError: The person let go; the run goes on.
        """
        try:
            self._link.once(self._start)
            self._follow()
            self.stage = Stage.FETCHING
            self._link.keep(self._collect, self._say)
            self.stage = Stage.HOME
            return self._job.out
        except DetachedError:
            if self.stage is Stage.BRINGING and self._wishes.stop.is_set():
                raise DeviceError(f"{self._job.device.name}: stopped as you wished; {self.stage.value}") from None
            raise
        finally:
            self._link.close()

    def _start(self, client: docker.DockerClient) -> None:
        """Finds the run or begins it; everything that it needs is brought first."""
        device = self._job.device
        _runtime_known(client, device)
        self._wishes.heed()
        self._image = images.ensure(client, device, self._registry, self._say, self._on_its_way)
        abilities.check(self._image.labels, device, self._job.samples)
        self._wishes.heed()
        samples, files = volumes.digest(self._job.samples)
        self._key = _key(self._job, samples, str(self._image.id))
        found = self._find(client)
        self._is_new = found is None
        folders.check(self._job.out, device.name, _spec(found) if found is not None else None)
        if found is None:
            make_way(client, device)
            volume = f"dime-samples-{self._job.network}-{samples[:12]}"
            try:
                named = {f"{self._job.network}/{name}": path for name, path in files.items()}
                if volumes.send(client, self._image, volume, named, self._on_its_way):
                    self._say(f"samples are in its volume {volume}")
            except DeviceError as error:
                raise DeviceError(f"{device.name}: {error}; type: make clean-device DEVICE={device.name}") from None
            self._wishes.heed()
            found = self._create(client, volume)
        elif found.status != "running" and answers.state(found).code != 0:
            make_way(client, device, found)
        if found.status == "created" or (found.status != "running" and answers.state(found).code != 0):
            self._begin(found)
            return
        self._place.to_the_start(found)
        self.stage = Stage.FETCHING
        if found.status == "running":
            self.stage = Stage.RUNNING
            holder, started = answers.label(found, "dime.holder", "?"), answers.label(found, "dime.started", "?")
            self._say(f"finds the run that {holder} started {started}")

    def _on_its_way(self, text: str) -> None:
        """Shows what is being sent or fetched, for as long as it is wished."""
        self._wishes.heed()
        self._status(text)

    def _create(self, client: docker.DockerClient, samples: str) -> Container:
        import docker.errors
        import docker.types

        job, device = self._job, self._job.device
        assert self._image is not None
        volume = client.volumes.create(self._volume, labels={volumes.LABEL: "results"})
        threads = {"OMP_NUM_THREADS": str(job.threads), "OPENBLAS_NUM_THREADS": str(job.threads)} if job.threads else {}
        options: dict[str, Any] = {
            "runtime": device.runtime or None,
            "network_mode": _network(job),
            "mem_limit": device.memory or None,
            "environment": threads,
        }
        options |= engines.gpus(device)
        if device.set_clock:
            self._say("runs privileged, since it sets the board's clock")
            options |= {"privileged": True, "user": "0:0"}
        else:
            options |= {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}
        try:
            return client.containers.create(
                self._image,
                [*job.words, "--samples=/samples", f"--out=/results/{FOLDER}"],
                entrypoint=ENTRY,
                name=HOLD,
                labels={
                    volumes.LABEL: "run",
                    "dime.key": self._key,
                    "dime.folder": "/".join(job.out.parts[-2:]),
                    **holding.marks(f"{job.network} on {device.name}"),
                },
                volumes={
                    samples: {"bind": "/samples", "mode": "ro"},
                    self._volume: {"bind": "/results", "mode": "rw"},
                },
                init=True,
                read_only=True,
                tmpfs={"/tmp": "size=256m"},
                healthcheck={"test": ["NONE"]},
                log_config=docker.types.LogConfig(type="json-file", config={"max-size": "16m", "max-file": "2"}),
                **options,
            )
        except docker.errors.APIError as error:
            if error.status_code == 409:
                make_way(client, device)
            else:
                with suppress(docker.errors.APIError):
                    volume.remove(force=True)
            raise

    def _begin(self, container: Container) -> None:
        import docker.errors

        try:
            self._start_now(container)
        except docker.errors.APIError as error:
            with suppress(docker.errors.APIError):  # why it does not start is what is told
                container.reload()
                if container.status == "created":
                    discard(container, self._volume)
            raise DeviceError(_start_failure(self._job.device, str(error.explanation))) from None

    def _start_now(self, container: Container) -> None:
        """Starts the container; what it said before it was started is not shown again."""
        if self._job.token:
            volumes.put(container, TOKEN, self._job.token.encode("utf-8", "surrogateescape"))
        self._place.to_the_end(container)
        self._wishes.heed()
        self.stage = Stage.STARTING
        container.start()
        self.stage = Stage.RUNNING

    def _follow(self) -> None:
        """Shows the run's progress until it is done; raises if it failed for good."""
        device = self._job.device
        try:
            progress.follow(self._lines(), f"{device.name} {self._job.network}")
        except (ConnectionLostError, NotLetInError):
            raise
        except DeviceError as error:
            text = str(error) if str(error).startswith(f"{device.name}: ") else f"{device.name}: {error}"
            try:
                text += self._link.keep(self._give_up, self._say)
            except (DimeError, DetachedError) as other:  # what failed first comes first
                text += f"; and then: {str(other) or 'it was left as it is'}"
            raise DeviceError(text) from None

    def _lines(self) -> Iterator[str]:
        """The container's lines as they come, across lost connections and restarts, until it ends for good."""
        restarts, finished = 0, 0
        while True:
            if self._wishes.stop.is_set():
                self._link.keep(self._stop, self._say)
            state, lines = self._link.keep(self._look, self._say)
            for line in lines:
                yield from self._heard(line)
            if state.status == "exited":
                code = state.code
                if code == 0:
                    self.stage = Stage.FETCHING
                    yield messages.encode("done", folder=str(self._job.out))
                self._judge(state, code)
                restarts = 0 if self._finished > finished else restarts + 1
                finished = self._finished
                if restarts > RESTARTS:
                    raise DeviceError(f"{self._job.device.name}: ended {restarts} times with exit code {code}")
                self._say(f"its container ended with exit code {code}: killed or restarted; goes on at the last bundle")
                self.stage = Stage.BRINGING
                self._link.keep(self._again, self._say)
            elif self._wishes.detach.wait(POLL_S):
                raise DetachedError

    def _heard(self, line: str) -> Iterator[str]:
        """Takes note of a line; gives it as it may be shown. That a run is done, its container's end says."""
        message, text = self._messages.take(line)
        if message is None:
            if text.strip():
                self._last_words.append(text.strip())
        elif message["kind"] == "hello":
            self._total, self._finished = message["total"] or 0, 0
        elif message["kind"] == "progress" and self._total:
            self._finished = message["done"]
        if text and (message is None or message["kind"] != "done"):
            yield text

    def _look(self, client: docker.DockerClient) -> tuple[answers.State, list[str]]:
        """The container's state, and its lines since the last look; the state first, so that no line is missed."""
        container = self._find(client)
        if container is None:
            raise DeviceError(self._gone)
        state = answers.state(container)
        return state, self._place.new(container)

    def _judge(self, state: answers.State, code: int) -> None:
        """Raises for an end that no other start would change; the reasons that the run gave itself come before."""
        name = self._job.device.name
        if self._wishes.stop.is_set():
            raise DeviceError(f"{name}: stopped as you wished")
        if state.out_of_memory:
            raise DeviceError(f"{name}: killed for want of memory; take smaller bundles (--max-layers) or more memory")
        if code == images.ILLEGAL_INSTRUCTION:
            raise DeviceError(f"{name}: illegal instruction: the image's wheels are not for this processor")
        if code in (1, 2, 126, 127):
            words = f"; last lines: {' | '.join(self._last_words)}" if self._last_words else ""
            raise DeviceError(f"{name}: ended with exit code {code}{words}")

    def _again(self, client: docker.DockerClient) -> None:
        container = self._find(client)
        if container is not None and container.status == "exited":
            make_way(client, self._job.device, container)
            self._start_now(container)

    def _stop(self, client: docker.DockerClient) -> None:
        container = self._find(client)
        if container is None or container.status != "running":
            return
        self._say("stops it")
        self.stage = Stage.STOPPING
        volumes.end(container, STOP_S)

    def _give_up(self, client: docker.DockerClient) -> str:
        """Leaves the device as it was after a failure; what was measured stays, under a name that holds nothing."""
        container = self._find(client)
        if container is None:
            return ""
        name = self._job.device.name
        try:
            volumes.wait(container, STOP_S)
        except DeviceError:
            return f". It goes on running there: the same command follows it, make clean-device DEVICE={name} ends it"
        self._restore(client)
        if self._is_new and not self._finished:
            discard(container, self._volume)
            return ""
        if container.name == HOLD:
            container.rename(f"dime-{self._key}")
        done = f"{self._finished} of {self._total or '?'} bundles are" if self._finished else "What was measured is"
        return f". {done} kept on the device: the same command goes on, make clean-device DEVICE={name} discards it"

    def _restore(self, client: docker.DockerClient) -> None:
        """Puts back clocks that a killed run had fixed."""
        assert self._image is not None
        if self._job.device.set_clock:
            restore_clocks(client, self._image, self._volume, self._job.device)

    def _collect(self, client: docker.DockerClient) -> None:
        """Fetches the run's folder, checks it, and removes what is ours but the caches; somebody may be faster."""
        import docker.errors

        assert self._image is not None
        try:
            container = self._find(client)
            if container is not None:
                fetch(client, container, self._image, self._volume, self._job.out, self._wishes.heed)
                if not folders.is_complete(self._job.out):
                    raise DeviceError(f"{self._job.device.name}: ended as if it were done, but {RUN} there denies it")
                settle(client, container, self._image, self._volume, self._job.device, self._job.out)
                return
        except (DeviceError, docker.errors.APIError, docker.errors.NullResource):
            if self._find(client) is not None:
                raise
        volumes.discard(client, self._volume)  # looking into it when it was gone has made it anew
        if not folders.is_complete(self._job.out):
            raise DeviceError(self._gone)

    def _find(self, client: docker.DockerClient) -> Container | None:
        found = client.containers.list(all=True, filters={"label": f"dime.key={self._key}"}, ignore_removed=True)
        return found[0] if found else None

    @property
    def _gone(self) -> str:
        return f"{self._job.device.name}: the run is gone; somebody collected or removed it"

    @property
    def _volume(self) -> str:
        return f"{volumes.RESULTS}{self._key}"


def fetch(
    client: docker.DockerClient,
    container: Container,
    image: Image,
    volume: str,
    out: Path,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Brings a run's folder home; a folder that is there already must be the same run's.

    Args:
        client: The engine.
        container: The run's container.
        image: Its image.
        volume: The volume of its results.
        out: The folder on this computer.
        watch: Called now and then; what it raises ends it.

    Raises:
        DeviceError: Another run is in the folder, something did not arrive intact, or the disk is full.
    """
    expected = volumes.hashes(client, image, volume, FOLDER)
    aside = out.with_name(f".{out.name}.{os.getpid()}-{threading.get_ident()}")
    with volumes.on_this_computer(out, volumes.STILL_THERE):
        out.parent.mkdir(parents=True, exist_ok=True)
        for path in out.parent.iterdir():  # what a command has left that was ended before it could tidy up
            found = re.fullmatch(rf"\.+{re.escape(out.name)}\.([0-9]{{1,9}})-[0-9]+(\.part)?", path.name, re.ASCII)
            if found and not volumes.lives(int(found[1])):
                volumes.remove(path)
    volumes.receive(container, f"/results/{FOLDER}", aside, watch)
    try:
        volumes.verify(aside, expected)
        folders.merge(aside, out)
    finally:
        volumes.remove(aside)


def settle(
    client: docker.DockerClient, container: Container, image: Image, volume: str, device: Device, out: Path
) -> None:
    """Leaves nothing of a complete run that is home: clocks that it had still fixed are put back first."""
    if (out / LEDGER).exists():
        restore_clocks(client, image, volume, device)
        (out / LEDGER).unlink()
    discard(container, volume)


def discard(container: Container, volume: str) -> None:
    """Removes a run's container and the volume of its results; somebody may have been faster."""
    import docker.errors

    with suppress(docker.errors.NotFound):
        container.remove(force=True)
    assert container.client is not None
    volumes.discard(container.client, volume)


def _spec(container: Container) -> Any:
    """A run's description as it is on the device; None before its first session."""
    text = volumes.read(container, f"/results/{FOLDER}/{RUN}")
    if text is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, RUN).write_bytes(text)
        try:
            return RunSpec.read(folder)
        except TableError:
            raise DeviceError(f"{RUN} of this run there is damaged; make clean-device discards the run") from None


def restore_clocks(client: docker.DockerClient, image: Image, volume: str, device: Device) -> None:
    """Runs the device side's ``restore`` on a run's folder.

    Raises:
        DeviceError: The clocks could not be put back; it says what to do.
    """
    options: dict[str, Any] = {"privileged": True, "cap_drop": None, "user": "0:0", "entrypoint": ENTRY}
    command = ["restore", f"--out=/volume/{FOLDER}"]
    with volumes.helper(client, image, volume, run=True, command=command, **options) as container:
        code = volumes.wait(container, STOP_S)
        if code:
            words = plain(" ".join(line for _, line in answers.lines(container, 1))[: answers.WORDS])
            raise DeviceError(
                f"{device.name}: its clocks could not be put back ({words}); reboot it, then type: "
                f"make clean-device DEVICE={device.name}"
            )


def _network(job: Job) -> str:
    """The container's network; on this computer's own engine, the power logger listens on the computer's loopback."""
    if not job.online:
        return "none"
    return "bridge" if job.device.host else "host"


def _key(job: Job, samples: str, image: str) -> str:
    """Names a run by everything that must be equal for two runs to be the same."""
    words = [word for word in job.words if not word.startswith("--log-server-addr=")]  # the computer may be another
    parts: Sequence[object] = (job.device.name, job.network, words, job.threads, samples, image)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def _runtime_known(client: docker.DockerClient, device: Device) -> None:
    if device.runtime and device.runtime not in (known := client.info().get("Runtimes", {})):
        raise DeviceError(
            f"{device.name}: its engine has no runtime '{device.runtime}' (it has {', '.join(sorted(known))}); "
            "install nvidia-container-runtime there, or set runtime in lab.toml"
        )


def _start_failure(device: Device, reason: str) -> str:
    if "could not select device driver" in reason:
        return f"{device.name}: its engine cannot hand out GPUs; install nvidia-container-toolkit there, or drop gpus"
    if "no space left" in reason:
        return f"{device.name}: its disk is full; type: make clean-device DEVICE={device.name}"
    return f"{device.name}: the container does not start: {reason}"
