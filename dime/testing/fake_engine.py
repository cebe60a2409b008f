"""A Docker engine in this process, behind a real socket, that needs no root: images, containers, volumes, logs, faults.

What a container does is told by its command, as the product starts it: a profile is a test's function, hashes and
restored clocks are this file's. Everything that an engine answers can be replaced by something slow, broken or hostile.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import re
import socket
import socketserver
import struct
import tarfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, TypedDict

from dime.contract import messages, tables
from dime.contract.run import RUN, SPEC_FIELDS, TIMINGS, RunSpec
from dime.host.bench.lab import LabDevice

REVISION = "org.opencontainers.image.revision"
PIECE_BYTES = 16_384  # an engine takes a longer line in pieces
SOON_S = 0.05  # what a container has done by then is done when its start is answered


class RefusalError(Exception):
    """An answer with an error's words and status."""

    def __init__(self, words: str, status: int = 500):
        super().__init__(words)
        self.status = status


@dataclass
class Volume:
    """A volume: its labels, and its files' content by their path in it."""

    labels: dict[str, str]
    files: dict[str, bytes] = field(default_factory=dict)


class Config(TypedDict, total=False):
    """What a container's maker asks for, as far as it is looked at."""

    Image: str
    Entrypoint: list[str] | None
    Cmd: list[str] | None
    Labels: dict[str, str]
    HostConfig: Mapping[str, list[str] | None]


class ImageAnswer(TypedDict, total=False):
    """What the engine says of an image."""

    Id: str
    Os: str
    Architecture: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Config: dict[str, dict[str, str]]
    Size: int


@dataclass
class Container:
    """A container; tests change what it is and read what was done to it.

    Attributes:
        engine: Where it is.
        id: Its id.
        name: Its name.
        config: What its maker asked for.
        labels: Its labels.
        status: created, running or exited.
        exit_code: Its exit code.
        out_of_memory: Whether it was killed for want of memory.
        started: The time stamp of its last start.
        lines: Of its log: time in ns and bytes.
        killed: Set when it was told to end.
    """

    engine: FakeEngine
    id: str
    name: str
    config: Config
    labels: dict[str, str]
    status: str = "created"
    exit_code: object = 0
    out_of_memory: bool = False
    started: str = "0001-01-01T00:00:00Z"
    lines: list[tuple[int, bytes]] = field(default_factory=list)
    killed: threading.Event = field(default_factory=threading.Event)

    @property
    def command(self) -> list[str]:
        """The words that it runs."""
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    @property
    def words(self) -> str:
        """What it runs, short."""
        return " ".join(self.config.get("Cmd") or self.config.get("Entrypoint") or [])[:60]

    @property
    def mounts(self) -> dict[str, str]:
        """Names of volumes by the place where each is seen."""
        binds = (bind.split(":") for bind in self.config.get("HostConfig", {}).get("Binds") or [])
        return {parts[1]: parts[0] for parts in binds}

    def say(self, *texts: str | bytes) -> None:
        """Writes lines into its log."""
        for text in texts:
            self.lines.append((self.engine.clock(), text if isinstance(text, bytes) else text.encode(errors="replace")))

    def progress(self, *done: int) -> None:
        """Says that bundles are finished."""
        for number in done:
            self.say(messages.encode("progress", done=number, what=f"bundle {number}"))

    def put(self, **files: bytes) -> None:
        """Puts files into the run's folder in the results' volume."""
        volume = self.engine.volumes[self.mounts["/results"]]
        volume.files |= {f"run/{name}": content for name, content in files.items()}

    def end(self, code: object = 0) -> None:
        """Ends it."""
        self.status, self.exit_code = "exited", code

    def found(self, path: str) -> tuple[Volume, str]:
        """The volume and the path in it that a path in the container is; an empty volume for any other path."""
        for place, volume in self.mounts.items():
            if path == place or path.startswith(f"{place}/"):
                return self.engine.volumes[volume], path[len(place) :].strip("/")
        return Volume({}), path

    def answer(self) -> dict[str, object]:
        """What the engine says of it."""
        return {
            "Id": self.id, "Name": f"/{self.name}", "Image": self.engine.image_of(self), "Created": stamp(0),
            "Config": {**self.config, "Labels": self.labels, "Tty": False},
            "HostConfig": self.config.get("HostConfig", {}),
            "State": {"Status": self.status, "ExitCode": self.exit_code, "OOMKilled": self.out_of_memory,
                      "StartedAt": self.started, "Running": self.status == "running"},
        }  # fmt: skip


class FakeEngine:
    """The engine; use as a context manager.

    Args:
        folder: Where its socket is; a socket's path may have a hundred characters.
        *names: Names of images that it has.

    Attributes:
        address: Its address, as in a lab file.
        images: Its images, as it answers them.
        registry: What a pull finds: a digest and a revision by an image's name; or the words of its refusal.
        containers: Its containers by id.
        volumes: Its volumes by name.
        calls: Every call so far, such as ``POST /containers/X/start``; names are X.
        events: What was done to containers and volumes, in words, in order.
        profile: What a run does when it is started, called with its container in a thread of its own.
        restore_code: Exit code of a container that puts back clocks.
        earlier: Ids of images that are of an earlier version, which has fewer verbs.
        before: Called with each request's method and path; it may wait, raise ConnectionError to hang up, or
            RefusalError.
        after: The same when it has been carried out, before the answer.
        stall: Until it is set, a pull's answer does not end.
        on_load: Called with the bytes that have come of an image that is loaded; it may wait.
        on_kill: Called with a container and a signal's name.
        archive: Called with a container and a path for an archive's blocks; None for what is really there.
        clock: The board's clock in ns.
    """

    def __init__(self, folder: str | Path, *names: str):
        self.path = str(Path(folder, "engine.sock"))
        self.address = f"unix://{self.path}"
        self.images: list[ImageAnswer] = []
        self.registry: dict[str, dict[str, str]] | str = {}
        self.containers: dict[str, Container] = {}
        self.volumes: dict[str, Volume] = {}
        self.calls: list[str] = []
        self.events: list[str] = []
        self.profile: Callable[[Container], None] = complete
        self.restore_code = 0
        self.earlier: set[str] = set()
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.after: Callable[[str, str], None] = lambda method, path: None
        self.stall: threading.Event | None = None
        self.on_load: Callable[[int], None] = lambda size: None
        self.on_kill: Callable[[Container, str], None] = lambda container, wish: None
        self.archive: Callable[[Container, str], Iterable[bytes] | None] = lambda container, path: None
        self.clock: Callable[[], int] = time.time_ns
        self._ids = itertools.count(1)
        for name in names:
            self.add_image(name)

    def __enter__(self) -> FakeEngine:
        self._server = _Server(self.path, type("_Bound", (_Handler,), {"engine": self}))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        for container in self.containers.values():
            container.killed.set()
        self._server.shutdown()
        self._server.server_close()

    def device(self, **keys: Any) -> LabDevice:  # Any: each key has its own type
        """A lab file's entry for it."""
        return LabDevice("nano", self.address, **{"image": "dime-host", **keys})

    def add_image(
        self,
        *names: str,
        architecture: str = "amd64",
        labels: Mapping[str, str] | None = None,
        digests: Sequence[str] = (),
        size_bytes: int = 0,
    ) -> str:
        """Puts an image there; gives its id."""
        made: ImageAnswer = {
            "Os": "linux", "Architecture": architecture, "RepoTags": list(names), "RepoDigests": list(digests),
            "Config": {"Labels": dict(labels or {})}, "Size": size_bytes,
        }  # fmt: skip
        made["Id"] = "sha256:" + hashlib.sha256(json.dumps(made).encode()).hexdigest()
        self.images.append(made)
        return str(made["Id"])

    def image(self, name: str) -> ImageAnswer:
        """One of its images by name or id.

        Raises:
            RefusalError: It has none of that name.
        """
        for one in self.images:
            if name in (one["Id"], one["Id"].partition(":")[2], *one["RepoTags"]):
                return one
        raise RefusalError(f"No such image: {name}", 404)

    def image_of(self, container: Container) -> str:
        """The id of a container's image, which may be gone."""
        with suppress(RefusalError):
            return str(self.image(str(container.config.get("Image")))["Id"])
        return str(self.images[0]["Id"] if self.images else "sha256:" + "1" * 64)

    def run(self, key: str = "0123456789ab", **labels: str) -> Container:
        """A run that has ended, as an earlier command left it; further words change its labels."""
        container = self.create("dime-profile", {
            "Entrypoint": ["python3", "-m", "dime.device"], "Cmd": ["profile"],
            "HostConfig": {"Binds": [f"dime-results-{key}:/results:rw"]},
            "Labels": {"dime": "run", "dime.key": key, "dime.folder": "nano/alexnet", "dime.what": "alexnet on nano",
                       "dime.holder": "me@here", "dime.started": "then",
                       **{name.replace("_", "."): value for name, value in labels.items()}},
        })  # fmt: skip
        self.volumes[f"dime-results-{key}"].labels = {"dime": "results"}
        container.status = "exited"
        return container

    def create(self, name: str, config: Config) -> Container:
        """Makes a container."""
        number = f"{next(self._ids):064x}"
        container = Container(self, number, name or f"random_{number[-4:]}", config, config.get("Labels") or {})
        self.containers[number] = container
        for volume in container.mounts.values():
            self.volumes.setdefault(volume, Volume({}))
        return container

    def get(self, name: str) -> Container | None:
        """One of its containers by name or id."""
        return next((c for c in self.containers.values() if c.name == name or c.id.startswith(name)), None)

    def start(self, container: Container) -> None:
        """Starts a container."""
        container.status, container.started = "running", stamp(self.clock())
        self.events.append(f"start {container.words}")
        working = threading.Thread(target=lambda: self.work(container), daemon=True)
        working.start()
        working.join(SOON_S)

    def work(self, container: Container) -> None:
        """What the device side would do; tests put a function of theirs in its place."""
        words = container.command
        if "profile" in words:
            self.profile(container)
        elif "restore" in words:
            container.say("clocks were put back" if not self.restore_code else "the kernel refused")
            container.end(self.restore_code)
        elif "hashes" in words and self.image_of(container) not in self.earlier:
            volume, below = container.found(words[-1].partition("=")[2])
            inside = {p[len(below) + 1 :]: c for p, c in volume.files.items() if p.startswith(f"{below}/")}
            facts = {name: hashlib.sha256(content).hexdigest() for name, content in inside.items()}
            container.say(messages.encode("description", facts=facts))
            container.end()
        elif self.image_of(container) in self.earlier:
            container.say(messages.encode("error", text=f"argument name: invalid choice: '{words[3]}' (choose from)"))
            container.end(1)
        else:
            container.end()

    def leftovers(self) -> list[str]:
        """Names of containers, and of volumes other than the caches of samples."""
        names = [container.name for container in self.containers.values()]
        return names + [name for name in self.volumes if not name.startswith("dime-samples-")]

    def unlabelled(self) -> list[str]:
        """What is there without our label."""
        found = [container.name for container in self.containers.values() if "dime" not in container.labels]
        return found + [name for name, volume in self.volumes.items() if "dime" not in volume.labels]


def kind(method: str, path: str) -> str:
    """A request without its names: ``POST /containers/X/start``."""
    pattern = r"(containers|volumes|images|distribution)/(?!create|json|load$)[^ ]+?(?=/\w+$|$)"
    return method + " " + re.sub(pattern, r"\1/X", path)


def stamp(time_ns: int) -> str:
    """An engine's time stamp."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9)) + f".{time_ns % 10**9:09d}Z"


def files(bundles: int = 4, state: str = "complete", sessions: int = 1, seed: int = 0) -> dict[str, bytes]:
    """A run's files: one row a bundle."""
    fields: dict[str, object] = {name: None for name in SPEC_FIELDS}
    fields |= {"network": "alexnet", "device": "nano", "seed": seed}
    begun = [{"boot_id": f"boot {seed}", "start_ns": 1 + seed, "rows": 0, "clocks": []} for _ in range(sessions)]
    spec = RunSpec(**fields, state=state, sessions=begun, started_utc="2026-01-01T00:00:00Z")
    rows = [",".join(column.name for column in tables.TIMINGS), *(f"row {number} {seed}" for number in range(bundles))]
    return {RUN: json.dumps(vars(spec)).encode(), TIMINGS: "".join(f"{row}\n" for row in rows).encode()}


def complete(container: Container) -> None:
    """A profile that does what it should."""
    container.say(messages.encode("hello", version="1", device="nano", network="alexnet", total=4))
    container.progress(1, 2, 3, 4)
    container.put(**files())
    container.say(messages.encode("done", folder="/results/run"))
    container.end()


def tar(entries: Mapping[str, bytes], top: str = "") -> bytes:
    """An archive of files by name, in one folder if it has a name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        if top:
            folder = tarfile.TarInfo(top)
            folder.type = tarfile.DIRTYPE
            archive.addfile(folder)
        for name, content in entries.items():
            member = tarfile.TarInfo(f"{top}/{name}" if top else name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


@dataclass(frozen=True)
class _Answer:
    """What is replied: JSON, bytes, or blocks as they come."""

    content: object = None
    status: int = 200
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    def raw(self) -> bytes | Iterator[bytes]:
        if isinstance(self.content, Iterator):
            return self.content
        if isinstance(self.content, bytes):
            return self.content
        return b"" if self.content is None else json.dumps(self.content).encode()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 32

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is a test's purpose."""


class _Handler(BaseHTTPRequestHandler):
    engine: FakeEngine
    protocol_version = "HTTP/1.1"

    def log_message(self, *words: object) -> None:
        pass

    def address_string(self) -> str:
        return "client"

    def _do(self) -> None:
        parts = urllib.parse.urlsplit(self.path)
        path = re.sub(r"^/v[0-9.]+", "", urllib.parse.unquote(parts.path))
        query = dict(urllib.parse.parse_qsl(parts.query))
        self.engine.calls.append(kind(self.command, path))
        self._read = False
        try:
            try:
                self.engine.before(self.command, path)
                answer = self._answer(path, query)
                self.engine.after(self.command, path)
            except RefusalError as refusal:
                answer = _Answer({"message": str(refusal)}, refusal.status)
            if not self._read:
                for _ in self._blocks():
                    pass
            self._reply(answer)
        except ConnectionError:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do  # noqa: N815

    def _answer(self, path: str, query: dict[str, str]) -> _Answer:
        for method, pattern, name in ROUTES:
            found = re.fullmatch(pattern, path)
            if found and method == self.command:
                answer: _Answer = getattr(self, name)(query, *found.groups())
                return answer
        raise RefusalError(f"no such page: {path}", 404)

    def _blocks(self) -> Iterator[bytes]:
        """What was sent with a request, as it comes."""
        self._read = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            yield self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _body(self) -> bytes:
        return b"".join(self._blocks())

    def _reply(self, answer: _Answer) -> None:
        raw = answer.raw()
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        for name, value in answer.headers:
            self.send_header(name, value)
        if isinstance(raw, bytes):
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)
            return
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for block in raw:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def _container(self, name: str) -> Container:
        found = self.engine.get(name)
        if found is None:
            raise RefusalError(f"No such container: {name}", 404)
        return found

    def ping(self, query: dict[str, str]) -> _Answer:
        return _Answer(b"OK", kind="text/plain")

    def version(self, query: dict[str, str]) -> _Answer:
        return _Answer({"ApiVersion": "1.43", "Version": "0.fake", "Os": "linux", "Arch": "amd64"})

    def info(self, query: dict[str, str]) -> _Answer:
        return _Answer({"Runtimes": {"runc": {}, "nvidia": {}}, "NCPU": 2, "DefaultRuntime": "runc"})

    def list_containers(self, query: dict[str, str]) -> _Answer:
        return _Answer([{"Id": one.id} for one in list(self.engine.containers.values()) if _asked(one.labels, query)])

    def create(self, query: dict[str, str]) -> _Answer:
        config = json.loads(self._body())
        name = query.get("name", "")
        self.engine.image(config["Image"])
        if name and self.engine.get(name):
            raise RefusalError(f'Conflict. The container name "/{name}" is already in use', 409)
        container = self.engine.create(name, config)
        self.engine.events.append(f"create {container.name}")
        return _Answer({"Id": container.id, "Warnings": []}, 201)

    def inspect(self, query: dict[str, str], name: str) -> _Answer:
        return _Answer(self._container(name).answer())

    def start(self, query: dict[str, str], name: str) -> _Answer:
        self.engine.start(self._container(name))
        return _Answer(status=204)

    def kill(self, query: dict[str, str], name: str) -> _Answer:
        container, wish = self._container(name), query.get("signal", "SIGKILL")
        self.engine.events.append(f"kill {container.name} {wish}")
        self.engine.on_kill(container, wish)
        container.killed.set()
        return _Answer(status=204)

    def rename(self, query: dict[str, str], name: str) -> _Answer:
        self._container(name).name = query["name"]
        return _Answer(status=204)

    def remove(self, query: dict[str, str], name: str) -> _Answer:
        container = self._container(name)
        if container.status == "running" and query.get("force", "").lower() not in ("1", "true"):
            raise RefusalError("You cannot remove a running container", 409)
        self.engine.events.append(f"remove {container.words}")
        container.killed.set()
        self.engine.containers.pop(container.id, None)
        return _Answer(status=204)

    def logs(self, query: dict[str, str], name: str) -> _Answer:
        lines = self._container(name).lines[:]
        if query.get("tail", "all") != "all":
            lines = lines[len(lines) - min(len(lines), int(query["tail"])) :]
        frames = []
        for time_ns, text in lines:
            line = (stamp(time_ns).encode() + b" " if query.get("timestamps") == "1" else b"") + text
            line += b"" if len(text) == PIECE_BYTES else b"\n"  # as json-file's driver
            frames.append(struct.pack(">BxxxL", 1, len(line)) + line)
        return _Answer(b"".join(frames), kind="application/vnd.docker.multiplexed-stream")

    def get_archive(self, query: dict[str, str], name: str) -> _Answer:
        container, path = self._container(name), query["path"]
        blocks = self.engine.archive(container, path)
        if blocks is None:
            volume, below = container.found(path)
            base = path.rpartition("/")[2]
            inside = {p[len(below) + 1 :]: c for p, c in volume.files.items() if p.startswith(f"{below}/")}
            if below in volume.files:
                blocks = [tar({base: volume.files[below]})]
            elif inside:
                blocks = [tar(inside, base)]
            else:
                raise RefusalError(f"Could not find the file {path} in container {name}", 404)
        return _Answer(iter(blocks), kind="application/x-tar", headers=(("X-Docker-Container-Path-Stat", "e30="),))

    def put_archive(self, query: dict[str, str], name: str) -> _Answer:
        content = self._body()
        volume, below = self._container(name).found(query["path"])
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            for member in archive:
                if source := archive.extractfile(member) if member.isfile() else None:
                    volume.files[f"{below}/{member.name}".strip("/")] = source.read()
        return _Answer()

    def list_volumes(self, query: dict[str, str]) -> _Answer:
        there = [{"Name": name, "Labels": volume.labels} for name, volume in list(self.engine.volumes.items())]
        return _Answer({"Volumes": [one for one in there if _asked(one["Labels"], query)]})

    def create_volume(self, query: dict[str, str]) -> _Answer:
        asked = json.loads(self._body())
        volume = self.engine.volumes.setdefault(asked["Name"], Volume(asked.get("Labels") or {}))
        return _Answer({"Name": asked["Name"], "Labels": volume.labels}, 201)

    def inspect_volume(self, query: dict[str, str], name: str) -> _Answer:
        if name not in self.engine.volumes:
            raise RefusalError(f"get {name}: no such volume", 404)
        return _Answer({"Name": name, "Labels": self.engine.volumes[name].labels})

    def remove_volume(self, query: dict[str, str], name: str) -> _Answer:
        self.inspect_volume(query, name)
        if any(name in one.mounts.values() for one in list(self.engine.containers.values())):
            raise RefusalError(f"remove {name}: volume is in use", 409)
        self.engine.events.append(f"remove volume {name}")
        del self.engine.volumes[name]
        return _Answer(status=204)

    def list_images(self, query: dict[str, str]) -> _Answer:
        return _Answer(self.engine.images)

    def inspect_image(self, query: dict[str, str], name: str) -> _Answer:
        return _Answer(self.engine.image(name))

    def tag_image(self, query: dict[str, str], name: str) -> _Answer:
        self.engine.image(name)["RepoTags"].append(f"{query['repo']}:{query['tag']}")
        return _Answer({}, 201)

    def remove_image(self, query: dict[str, str], name: str) -> _Answer:
        self.engine.images.remove(self.engine.image(name))
        self.engine.events.append(f"remove image {name}")
        return _Answer([])

    def save_image(self, query: dict[str, str], name: str) -> _Answer:
        image = self.engine.image(name)
        config = f"blobs/sha256/{image['Id'][-64:]}"
        manifest = [{"Config": config, "RepoTags": image["RepoTags"]}]
        packed = tar({"manifest.json": json.dumps(manifest).encode(), config: json.dumps(image).encode(),
                      "layer": bytes(image["Size"])})  # fmt: skip
        return _Answer(packed, kind="application/x-tar")

    def load_image(self, query: dict[str, str]) -> _Answer:
        received = io.BytesIO()
        for block in self._blocks():
            received.write(block)
            self.engine.on_load(received.tell())
        received.seek(0)
        with tarfile.open(fileobj=received) as archive:
            manifest = json.loads(archive.extractfile("manifest.json").read())  # type: ignore[union-attr]
            image = json.loads(archive.extractfile(manifest[0]["Config"]).read())  # type: ignore[union-attr]
        self.engine.images.append(image)
        return _Answer(json.dumps({"stream": f"Loaded image ID: {image['Id']}\n"}).encode() + b"\n")

    def registered(self, query: dict[str, str], name: str) -> _Answer:
        return _Answer({"Descriptor": {"digest": self._pulled(name)["digest"]}, "Platforms": []})

    def pull_image(self, query: dict[str, str]) -> _Answer:
        if self.engine.stall:
            return _Answer(self._stalled(self.engine.stall))
        name = f"{query['fromImage']}:{query['tag']}"
        found = self._pulled(name)
        digest = f"{query['fromImage']}@{found['digest']}"
        self.engine.add_image(name, digests=[digest], labels={REVISION: found["revision"]})
        return _Answer(b'{"status": "Pulled"}\n')

    @staticmethod
    def _stalled(over: threading.Event) -> Iterator[bytes]:
        yield b'{"status": "begins"}'
        over.wait(20)

    def _pulled(self, name: str) -> dict[str, str]:
        """What the registry has of a name."""
        if isinstance(self.engine.registry, str):
            raise RefusalError(self.engine.registry)
        if name not in self.engine.registry:
            raise RefusalError(f"manifest unknown: {name} not found", 404)
        return self.engine.registry[name]


def _asked(labels: object, query: Mapping[str, str]) -> bool:
    """Whether something carries all the labels that a request wants."""
    wanted = (label.partition("=") for label in json.loads(query.get("filters", "{}")).get("label", []))
    return all(
        isinstance(labels, dict) and name in labels and (not value or labels[name] == value)
        for name, _, value in wanted
    )


ROUTES = (
    ("GET", "/_ping", "ping"),
    ("HEAD", "/_ping", "ping"),
    ("GET", "/version", "version"),
    ("GET", "/info", "info"),
    ("GET", "/containers/json", "list_containers"),
    ("POST", "/containers/create", "create"),
    ("GET", "/containers/([^/]+)/json", "inspect"),
    ("POST", "/containers/([^/]+)/start", "start"),
    ("POST", "/containers/([^/]+)/kill", "kill"),
    ("POST", "/containers/([^/]+)/rename", "rename"),
    ("GET", "/containers/([^/]+)/logs", "logs"),
    ("GET", "/containers/([^/]+)/archive", "get_archive"),
    ("PUT", "/containers/([^/]+)/archive", "put_archive"),
    ("DELETE", "/containers/([^/]+)", "remove"),
    ("GET", "/volumes", "list_volumes"),
    ("POST", "/volumes/create", "create_volume"),
    ("GET", "/volumes/([^/]+)", "inspect_volume"),
    ("DELETE", "/volumes/([^/]+)", "remove_volume"),
    ("GET", "/images/json", "list_images"),
    ("GET", "/images/(.+)/json", "inspect_image"),
    ("GET", "/images/(.+)/get", "save_image"),
    ("POST", "/images/(.+)/tag", "tag_image"),
    ("POST", "/images/load", "load_image"),
    ("POST", "/images/create", "pull_image"),
    ("DELETE", "/images/(.+)", "remove_image"),
    ("GET", "/distribution/(.+)/json", "registered"),
)
