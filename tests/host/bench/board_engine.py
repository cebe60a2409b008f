"""A board's Docker engine in this process, behind a real socket, whose runs run: files, logs, archives, faults at will.

What a container does is told by its command, as the product starts it: a profile is a test's function, hashes and
restored clocks are this file's. Everything that an engine answers can be replaced by something hostile.
"""

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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from dime.contract import messages, tables
from dime.contract.run import RUN, SPEC_FIELDS, TIMINGS, RunSpec
from dime.host.bench.lab import Device

IMAGE = "sha256:" + "1" * 64
NAME = "dime-host:latest"
PIECE_BYTES = 16_384  # an engine takes a longer line in pieces


class RefusalError(Exception):
    """Words with which the engine refuses a call."""


@dataclass
class Volume:
    labels: dict
    files: dict = field(default_factory=dict)  # content by path in it


@dataclass
class Container:
    engine: "BoardEngine"
    id: str
    name: str
    config: dict
    labels: object
    status: str = "created"
    exit_code: int = 0
    out_of_memory: bool = False
    started: str = "0001-01-01T00:00:00Z"
    lines: list = field(default_factory=list)  # of (time in ns, bytes)
    killed: threading.Event = field(default_factory=threading.Event)

    @property
    def command(self):
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    @property
    def words(self):
        return " ".join(self.config.get("Cmd") or self.config.get("Entrypoint") or [])[:60]

    @property
    def mounts(self):
        binds = (bind.split(":") for bind in self.config["HostConfig"].get("Binds") or [])
        return {parts[1]: parts[0] for parts in binds}

    def say(self, *texts):
        for text in texts:
            self.lines.append((self.engine.clock(), text if isinstance(text, bytes) else text.encode(errors="replace")))

    def progress(self, *done, total=4):
        for number in done:
            self.say(messages.encode("progress", done=number, what=f"bundle {number}"))

    def put(self, **files):
        """Puts files into the run's folder in the results' volume."""
        volume = self.engine.volumes[self.mounts["/results"]]
        volume.files |= {f"run/{name}": content for name, content in files.items()}

    def end(self, code=0):
        self.status, self.exit_code = "exited", code

    def found(self, path):
        """The volume and the path in it that a path in the container is."""
        for place, volume in self.mounts.items():
            if path == place or path.startswith(f"{place}/"):
                return self.engine.volumes[volume], path[len(place) :].strip("/")
        return None, path

    def answer(self):
        return {
            "Id": self.id, "Name": f"/{self.name}", "Image": IMAGE, "Created": stamp(0),
            "Config": {**self.config, "Labels": self.labels, "Tty": False},
            "HostConfig": self.config["HostConfig"],
            "State": {"Status": self.status, "ExitCode": self.exit_code, "OOMKilled": self.out_of_memory,
                      "StartedAt": self.started, "Running": self.status == "running"},
        }  # fmt: skip


class BoardEngine:
    """The engine; use as a context manager.

    Attributes:
        events: What was done to containers and volumes, in words, in order.
        profile: What a run does when it is started, called with its container in a thread of its own.
        restore_code: Exit code of a container that puts back clocks.
        before: Called with each request's method and path; it may wait, raise ConnectionError to hang up, or
            RefusalError.
        on_load: Called with the bytes that have come of an image that is loaded; it may wait.
        on_kill: Called with a container and a signal's name.
        archive: Called with a container and a path for an archive's blocks; None for what is really there.
        clock: The board's clock in ns.
    """

    def __init__(self, folder):
        self.path = folder / "engine.sock"
        self.containers: dict[str, Container] = {}
        self.volumes: dict[str, Volume] = {}
        self.events: list[str] = []
        self.profile: Callable[[Container], None] = complete
        self.restore_code = 0
        self.before: Callable[[str, str], None] = lambda method, path: None
        self.on_load: Callable[[int], None] = lambda size: None
        self.on_kill: Callable[[Container, str], None] = lambda container, wish: None
        self.archive: Callable[[Container, str], object] = lambda container, path: None
        self.clock: Callable[[], int] = time.time_ns
        self.images = [{"Id": IMAGE, "RepoTags": [NAME], "RepoDigests": [], "Labels": {},
                        "Config": {"Labels": {}}, "Os": "linux", "Architecture": "amd64"}]  # fmt: skip
        self._ids = itertools.count(1)

    def device(self, **keys):
        return Device("nano", f"unix://{self.path}", image="dime-host", **keys)

    def __enter__(self):
        engine = self

        class Bound(_Handler):
            pass

        Bound.engine = engine
        self._server = _Server(str(self.path), Bound)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        for container in self.containers.values():
            container.killed.set()
        self._server.shutdown()
        self._server.server_close()

    def run(self, key="0123456789ab", **labels):
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

    def create(self, name, config):
        number = f"{next(self._ids):064x}"
        container = Container(self, number, name or f"random_{number[-4:]}", config, config.get("Labels"))
        self.containers[number] = container
        for volume in container.mounts.values():
            self.volumes.setdefault(volume, Volume({}))
        return container

    def get(self, name):
        return next((c for c in self.containers.values() if c.name == name or c.id.startswith(name)), None)

    def start(self, container):
        container.status, container.started = "running", stamp(self.clock())
        self.events.append(f"start {container.words}")
        threading.Thread(target=self._work, args=(container,), daemon=True).start()

    def _work(self, container):
        words = container.command
        if "profile" in words:
            self.profile(container)
        elif "restore" in words:
            container.say("clocks were put back" if not self.restore_code else "the kernel refused")
            container.end(self.restore_code)
        elif "hashlib" in " ".join(words):
            volume, below = container.found(words[-1])
            for path, content in sorted(volume.files.items()):
                if path.startswith(f"{below}/"):
                    container.say(f"{hashlib.sha256(content).hexdigest()} {path[len(below) + 1 :]}")
            container.end()
        else:
            container.end()

    def leftovers(self):
        """Names of containers, and of volumes other than the caches of samples."""
        names = [container.name for container in self.containers.values()]
        return names + [name for name in self.volumes if not name.startswith("dime-samples-")]


def stamp(time_ns):
    """An engine's time stamp."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_ns // 10**9)) + f".{time_ns % 10**9:09d}Z"


def files(bundles=4, state="complete", sessions=1, seed=0):
    """A run's files: one row a bundle."""
    fields = {name: None for name in SPEC_FIELDS} | {"network": "alexnet", "device": "nano", "seed": seed}
    kept = {name: fields[name] for name in SPEC_FIELDS}
    session = [{"boot_id": f"boot {seed}", "start_ns": 1 + seed, "rows": 0, "clocks": []} for _ in range(sessions)]
    spec = RunSpec(**kept, state=state, sessions=session, started_utc="2026-01-01T00:00:00Z")
    rows = [",".join(column.name for column in tables.TIMINGS), *(f"row {number} {seed}" for number in range(bundles))]
    return {RUN: json.dumps(vars(spec)).encode(), TIMINGS: "".join(f"{row}\n" for row in rows).encode()}


def complete(container):
    """A profile that does what it should."""
    container.say(messages.encode("hello", version="1", device="nano", network="alexnet", total=4))
    container.progress(1, 2, 3, 4)
    container.put(**files())
    container.say(messages.encode("done", folder="/results/run"))
    container.end()


def tar(entries, top):
    """An archive of one folder with files by name."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        folder = tarfile.TarInfo(top)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in entries.items():
            member = tarfile.TarInfo(f"{top}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 32

    def handle_error(self, request, client_address):
        pass  # a client that hangs up is a test's purpose


class _Handler(BaseHTTPRequestHandler):
    engine: BoardEngine
    protocol_version = "HTTP/1.1"

    def log_message(self, *words):
        pass

    def address_string(self):
        return "client"

    def _do(self):
        parts = urllib.parse.urlsplit(self.path)
        path = re.sub(r"^/v[0-9.]+", "", urllib.parse.unquote(parts.path))
        query = dict(urllib.parse.parse_qsl(parts.query))
        try:
            self.engine.before(self.command, path)
            for method, pattern, name in ROUTES:
                found = re.fullmatch(pattern, path)
                if found and method == self.command:
                    getattr(self, name)(query, *found.groups())
                    return
            self.reply({"message": f"no such page: {path}"}, 404)
        except RefusalError as refusal:
            self.body()
            self.reply({"message": str(refusal)}, 500)
        except ConnectionError:
            self.close_connection = True
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _do  # noqa: N815

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            pieces = []
            while size := int(self.rfile.readline(), 16):
                pieces.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(pieces)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def reply(self, content=None, status=200, kind="application/json", headers=()):
        data = b"" if content is None else content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def stream(self, blocks, kind, headers=()):
        """Blocks as they come; the connection is hung up where they raise ConnectionError."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        for block in blocks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        self.wfile.write(b"0\r\n\r\n")

    def container(self, name):
        found = self.engine.get(name)
        if found is None:
            self.reply({"message": f"No such container: {name}"}, 404)
        return found

    def version(self, query):
        self.reply({"ApiVersion": "1.41", "Version": "20.10", "Os": "linux", "Arch": "amd64"})

    def info(self, query):
        self.reply({"Runtimes": {"runc": {}}, "NCPU": 2})

    def list_containers(self, query):
        wanted = json.loads(query.get("filters", "{}")).get("label", [])
        shown = [
            {"Id": one.id}
            for one in self.engine.containers.values()
            if all(_has(one.labels, label) for label in wanted)
        ]
        self.reply(shown)

    def create(self, query):
        config = json.loads(self.body())
        name = query.get("name", "")
        if name and self.engine.get(name):
            self.reply({"message": f'Conflict. The container name "/{name}" is already in use'}, 409)
            return
        container = self.engine.create(name, config)
        self.engine.events.append(f"create {container.name}")
        self.reply({"Id": container.id, "Warnings": []}, 201)

    def inspect(self, query, name):
        if container := self.container(name):
            self.reply(container.answer())

    def start(self, query, name):
        if container := self.container(name):
            self.engine.start(container)
            self.reply(status=204)

    def kill(self, query, name):
        if container := self.container(name):
            self.engine.events.append(f"kill {container.name} {query.get('signal', 'SIGKILL')}")
            self.engine.on_kill(container, query.get("signal", "SIGKILL"))
            container.killed.set()
            self.reply(status=204)

    def rename(self, query, name):
        if container := self.container(name):
            container.name = query["name"]
            self.reply(status=204)

    def remove(self, query, name):
        if container := self.container(name):
            self.engine.events.append(f"remove {container.words}")
            container.killed.set()
            del self.engine.containers[container.id]
            self.reply(status=204)

    def logs(self, query, name):
        if container := self.container(name):
            lines = container.lines[:]
            if query.get("tail", "all") != "all":
                lines = lines[len(lines) - min(len(lines), int(query["tail"])) :]
            since_ns = int(float(query.get("since", 0)) * 1e9)
            timed = query.get("timestamps") == "1"
            frames = []
            for time_ns, text in lines:
                if time_ns >= since_ns:
                    line = (stamp(time_ns).encode() + b" " if timed else b"") + text
                    line += b"" if len(text) == PIECE_BYTES else b"\n"  # as json-file's driver
                    frames.append(struct.pack(">BxxxL", 1, len(line)) + line)
            self.reply(b"".join(frames), kind="application/vnd.docker.multiplexed-stream")

    def get_archive(self, query, name):
        if container := self.container(name):
            path = query["path"]
            hostile = self.engine.archive(container, path)
            stat = ("X-Docker-Container-Path-Stat", "e30=")
            if hostile is not None:
                self.stream(hostile, "application/x-tar", [stat])
                return
            volume, below = container.found(path)
            base = path.rpartition("/")[2]
            if volume and below in volume.files:
                stream = io.BytesIO()
                with tarfile.open(fileobj=stream, mode="w") as archive:
                    member = tarfile.TarInfo(base)
                    member.size = len(volume.files[below])
                    archive.addfile(member, io.BytesIO(volume.files[below]))
                self.stream([stream.getvalue()], "application/x-tar", [stat])
                return
            inside = {p[len(below) + 1 :]: c for p, c in volume.files.items() if p.startswith(f"{below}/")}
            if not inside:
                self.reply({"message": f"Could not find the file {path} in container {name}"}, 404)
                return
            self.stream([tar(inside, base)], "application/x-tar", [stat])

    def put_archive(self, query, name):
        content = self.body()
        if container := self.container(name):
            volume, below = container.found(query["path"])
            with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                for member in archive:
                    source = archive.extractfile(member) if member.isfile() else None
                    if source:
                        volume.files[f"{below}/{member.name}".strip("/")] = source.read()
            self.reply(status=200)

    def list_volumes(self, query):
        wanted = json.loads(query.get("filters", "{}")).get("label", [])
        shown = [
            {"Name": name, "Labels": volume.labels}
            for name, volume in self.engine.volumes.items()
            if all(_has(volume.labels, label) for label in wanted)
        ]
        self.reply({"Volumes": shown})

    def create_volume(self, query):
        asked = json.loads(self.body())
        volume = self.engine.volumes.setdefault(asked["Name"], Volume(asked.get("Labels") or {}))
        self.reply({"Name": asked["Name"], "Labels": volume.labels}, 201)

    def inspect_volume(self, query, name):
        if name in self.engine.volumes:
            self.reply({"Name": name, "Labels": self.engine.volumes[name].labels})
        else:
            self.reply({"message": f"get {name}: no such volume"}, 404)

    def remove_volume(self, query, name):
        if name not in self.engine.volumes:
            self.reply({"message": f"get {name}: no such volume"}, 404)
        elif any(name in one.mounts.values() for one in self.engine.containers.values()):
            self.reply({"message": f"remove {name}: volume is in use"}, 409)
        else:
            self.engine.events.append(f"remove volume {name}")
            del self.engine.volumes[name]
            self.reply(status=204)

    def list_images(self, query):
        self.reply(self.engine.images)

    def inspect_image(self, query, name):
        for image in self.engine.images:
            if name in (image["Id"], image["Id"].partition(":")[2], *image["RepoTags"]):
                self.reply(image)
                return
        self.reply({"message": f"No such image: {name}"}, 404)

    def save_image(self, query, name):
        self.stream([bytes(1 << 16)] * 64, "application/x-tar")

    def load_image(self, query):
        size = 0
        while length := int(self.rfile.readline(), 16):
            size += len(self.rfile.read(length))
            self.rfile.readline()
            self.engine.on_load(size)
        self.rfile.readline()
        self.reply({"stream": f"Loaded image ID: {IMAGE}\n"})

    def remove_image(self, query, name):
        self.engine.images = [one for one in self.engine.images if name not in (one["Id"], *one["RepoTags"])]
        self.engine.events.append(f"remove image {name}")
        self.reply([])


def _has(labels, wanted):
    name, _, value = wanted.partition("=")
    return isinstance(labels, dict) and name in labels and (not value or labels[name] == value)


ROUTES = (
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
    ("POST", "/images/load", "load_image"),
    ("DELETE", "/images/(.+)", "remove_image"),
)
