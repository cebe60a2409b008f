"""A Docker engine: a session is a container, started once, found again by its label, brought home, and then removed.

A device profiles for one person at a time: the name of the run's container is the lock. Whoever gives the same command
again, from whichever computer, finds the run by its key and follows on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from dime.contract.errors import DeviceError
from dime.contract.run import IMAGE_VARIABLE, RUN
from dime.host.bench import abilities, answers, clients, folders, lock, transfer
from dime.host.bench.connection import Connection, Wishes
from dime.host.bench.containers import Options
from dime.host.bench.images import deliver
from dime.host.bench.lab import LabDevice
from dime.host.bench.lock import HOLD, make_way
from dime.host.bench.session import results
from dime.host.bench.session.job import Job
from dime.host.bench.session.state import Stage, State

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

POLL_S = 1.0
TOKEN = "/results/.power_token"  # in the results' volume, whose owner on the board is root; never in the environment


class Docker:
    """One job in a container on its device's engine; see `Engine`."""

    is_apart: ClassVar[bool] = True
    is_restarted: ClassVar[bool] = True

    def __init__(
        self,
        job: Job,
        registry: str,
        wishes: Wishes,
        say: Callable[[str], None],
        status: Callable[[str], None],
    ):
        self._job, self._registry, self._wishes, self._say, self._status = job, registry, wishes, say, status
        self.stage = Stage.BRINGING
        self._link = Connection(job.device, wishes)
        self._key = ""
        self._image: Image | None = None
        self._is_new = False
        self._place = answers.Place()

    def __enter__(self) -> Docker:
        return self

    def __exit__(self, *exception: object) -> None:
        self._link.close()

    @property
    def name(self) -> str:
        return self._job.device.name

    @property
    def label(self) -> str:
        return f"{self.name} {self._job.network}"

    @property
    def poll_s(self) -> float:
        return POLL_S

    def start(self) -> None:
        """Finds the session's container or begins it; image and feature maps are brought first."""
        self._link.once(self._start)

    def _start(self, client: docker.DockerClient) -> None:
        """Finds the run or begins it; everything that it needs is brought first."""
        device = self._job.device
        runtime_known(client, device)
        self._wishes.heed()
        self._image = deliver.ensure(client, device, self._registry, self._say, self._on_its_way)
        abilities.check(self._image.labels, device, self._job.samples)
        self._wishes.heed()
        samples, files = transfer.digest(self._job.samples)
        self._key = _key(self._job, samples, str(self._image.id))
        found = self._find(client)
        self._is_new = found is None
        folders.check(self._job.out, device.name, results.described(found) if found is not None else None)
        if found is None:
            make_way(client, device)
            volume = bring(client, device, self._image, self._job.network, samples, files, self._say, self._on_its_way)
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

        job, device = self._job, self._job.device
        assert self._image is not None
        volume = client.volumes.create(self._volume, labels={transfer.LABEL: "results"})
        options = rights(device, job.threads, _network(job))
        options |= {
            "command": [*_words(job), "--samples=/samples", f"--out=/results/{results.FOLDER}"],
            "entrypoint": transfer.ENTRY,
            "volumes": {
                samples: {"bind": "/samples", "mode": "ro"},
                self._volume: {"bind": "/results", "mode": "rw"},
            },
            "environment": {**options["environment"], IMAGE_VARIABLE: deliver.identity(self._image, device.image)},
        }
        if device.set_clock:
            self._say("runs privileged, since it sets the board's clock")
        try:
            return client.containers.create(
                self._image,
                name=HOLD,
                labels={
                    transfer.LABEL: "run",
                    "dime.key": self._key,
                    "dime.folder": "/".join(job.out.parts[-2:]),
                    **lock.marks(f"{job.network} on {device.name}"),
                },
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
                    results.discard(container, self._volume)
            raise DeviceError(start_failure(self._job.device, str(error.explanation))) from None

    def _start_now(self, container: Container) -> None:
        """Starts the container; what it said before it was started is not shown again."""
        if self._job.token:
            transfer.put(container, TOKEN, self._job.token.encode("utf-8", "surrogateescape"))
        self._place.to_the_end(container)
        self._wishes.heed()
        self.stage = Stage.STARTING
        container.start()
        self.stage = Stage.RUNNING

    def look(self) -> tuple[State, list[str]]:
        """The container's state, and its lines since the last look; the state first, so that no line is missed."""
        return self._link.keep(self._look, self._say)

    def again(self) -> None:
        """Starts the container once more."""
        self.stage = Stage.BRINGING
        self._link.keep(self._again, self._say)

    def stop(self) -> None:
        """Tells the container to end, and waits until it has."""
        self._link.keep(self._stop, self._say)

    def copy_out(self) -> Path:
        """Brings the run's folder home, checks it, and removes what is ours but the caches."""
        self.stage = Stage.FETCHING
        self._link.keep(self._collect, self._say)
        self.stage = Stage.HOME
        return self._job.out

    def give_up(self, reason: str, finished: int, total: int) -> str:
        """Leaves the device as it was after a failure; what was measured stays, under a name that holds nothing."""
        text = reason if reason.startswith(f"{self.name}: ") else f"{self.name}: {reason}"
        return text + self._link.keep(lambda client: self._give_up(client, finished, total), self._say)

    def _look(self, client: docker.DockerClient) -> tuple[State, list[str]]:
        container = self._find(client)
        if container is None:
            raise DeviceError(self._gone)
        state = answers.state(container)
        return state, self._place.new(container)

    def _again(self, client: docker.DockerClient) -> None:
        container = self._find(client)
        if container is not None and container.status != "running":
            make_way(client, self._job.device, container)
            self._start_now(container)

    def _stop(self, client: docker.DockerClient) -> None:
        container = self._find(client)
        if container is None or container.status != "running":
            return
        self._say("stops it")
        self.stage = Stage.STOPPING
        transfer.end(container, results.STOP_S)

    def _give_up(self, client: docker.DockerClient, finished: int, total: int) -> str:
        container = self._find(client)
        if container is None:
            return ""
        name = self._job.device.name
        try:
            transfer.wait(container, results.STOP_S)
        except DeviceError:
            return f". It goes on running there: the same command follows it, make clean-device DEVICE={name} ends it"
        self._restore(client)
        if self._is_new and not finished:
            results.discard(container, self._volume)
            return ""
        if container.name == HOLD:
            container.rename(f"dime-{self._key}")
        done = f"{finished} of {total or '?'} bundles are" if finished else "What was measured is"
        return f". {done} kept on the device: the same command goes on, make clean-device DEVICE={name} discards it"

    def _restore(self, client: docker.DockerClient) -> None:
        """Puts back clocks that a killed run had fixed."""
        assert self._image is not None
        if self._job.device.set_clock:
            results.restore_clocks(client, self._image, self._volume, self._job.device)

    def _collect(self, client: docker.DockerClient) -> None:
        """Fetches the run's folder, checks it, and removes what is ours but the caches; somebody may be faster."""
        import docker.errors

        assert self._image is not None
        try:
            container = self._find(client)
            if container is not None:
                results.fetch(client, container, self._image, self._volume, self._job.out, self._wishes.heed)
                if not folders.is_complete(self._job.out):
                    raise DeviceError(f"{self._job.device.name}: ended as if it were done, but {RUN} there denies it")
                results.settle(client, container, self._image, self._volume, self._job.device, self._job.out)
                return
        except (DeviceError, docker.errors.APIError, docker.errors.NullResource):
            if self._find(client) is not None:
                raise
        transfer.discard(client, self._volume)  # looking into it when it was gone has made it anew
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
        return f"{transfer.RESULTS}{self._key}"


def _network(job: Job) -> str:
    """The container's network; on this computer's own engine, the power logger listens on the computer's loopback."""
    if not job.online:
        return "none"
    return "bridge" if job.device.host else "host"


def _words(job: Job) -> list[str]:
    return [*job.words, *([f"{job.token_word}={TOKEN}"] if job.token else [])]


def _key(job: Job, samples: str, image: str) -> str:
    """Names a run by everything that must be equal for two runs to be the same."""
    words = [word for word in _words(job) if not word.startswith("--log-server-addr=")]  # the computer may be another
    parts: Sequence[object] = (job.device.name, job.network, words, job.threads, samples, image)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]


def rights(device: LabDevice, threads: int, network: str) -> Options:
    """What a container may do and use that computes on a device.

    Args:
        device: The device.
        threads: CPU threads of the numeric libraries; 0 leaves it to them.
        network: Docker's name of the network that it is in.
    """
    import docker.types

    options: Options = {
        "runtime": device.runtime or None,
        "network_mode": network,
        "mem_limit": device.memory or None,
        "environment": {"OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)} if threads else {},
        "init": True,
        "read_only": True,
        "tmpfs": {"/tmp": "size=256m"},
        "healthcheck": {"test": ["NONE"]},
        "log_config": docker.types.LogConfig(type="json-file", config={"max-size": "16m", "max-file": "2"}),
        **clients.gpus(device),  # type: ignore[typeddict-item] # mypy wants each key here
    }
    if device.set_clock:
        return {**options, "privileged": True, "user": "0:0"}
    return {**options, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"]}


def bring(
    client: docker.DockerClient,
    device: LabDevice,
    image: Image,
    network: str,
    samples: str,
    files: dict[str, Path],
    say: Callable[[str], None],
    progress: Callable[[str], None],
) -> str:
    """Brings feature maps to a device, unless they are there; gives the name of their volume.

    Args:
        client: Its engine.
        device: The device.
        image: Any image of the right platform.
        network: The network's name.
        samples: The SHA-256 of its feature maps.
        files: The files by their path in the network's folder.
        say: Told if they were sent.
        progress: Called with a short text on the way.

    Raises:
        DeviceError: They do not fit.
    """
    volume = f"dime-samples-{network}-{samples[:12]}"
    try:
        named = {f"{network}/{name}": path for name, path in files.items()}
        if transfer.send(client, image, volume, named, progress):
            say(f"samples are in its volume {volume}")
    except DeviceError as error:
        raise DeviceError(f"{device.name}: {error}; type: make clean-device DEVICE={device.name}") from None
    return volume


def runtime_known(client: docker.DockerClient, device: LabDevice) -> None:
    """Makes sure that a device's engine has the runtime that the lab file names.

    Raises:
        DeviceError: It has not.
    """
    if device.runtime and device.runtime not in (known := client.info().get("Runtimes", {})):
        raise DeviceError(
            f"{device.name}: its engine has no runtime '{device.runtime}' (it has {', '.join(sorted(known))}); "
            "install nvidia-container-runtime there, or set runtime in lab.toml"
        )


def start_failure(device: LabDevice, reason: str) -> str:
    """Why a container does not start, in words, from the engine's own."""
    if "could not select device driver" in reason:
        return f"{device.name}: its engine cannot hand out GPUs; install nvidia-container-toolkit there, or drop gpus"
    if "no space left" in reason:
        return f"{device.name}: its disk is full; type: make clean-device DEVICE={device.name}"
    return f"{device.name}: the container does not start: {reason}"
