"""A Docker engine's interface on a socket of this machine, for what real engines do too seldom: wait, refuse, die."""

import hashlib
import io
import itertools
import json
import re
import socketserver
import tarfile
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

REVISION = "org.opencontainers.image.revision"


class RefusalError(Exception):
    """An answer with an error's status and words."""

    def __init__(self, status, words):
        super().__init__(words)
        self.status, self.words = status, words


class FakeEngine:
    """An engine with images, containers and volumes, but without processes.

    Attributes:
        images: Image by its id: names, labels, os, architecture.
        registry: What `distribution` and `pull` find: image by name; or the words of their refusal.
        containers, volumes: What is there now.
        runs: Called with a container's words when it starts; gives its exit code (None: it goes on) and what it says.
        before: Called with each call, such as ``POST /containers/create``, before it is carried out.
        after: The same when it has been carried out, before the answer.
        calls: Every call so far.
    """

    def __init__(self, folder):
        self.path = str(folder / "engine.sock")
        self.address = f"unix://{self.path}"
        self.images, self.registry, self.containers, self.volumes = {}, {}, {}, {}
        self.runs = lambda words: (0, "")
        self.before = self.after = lambda call: None
        self.said = {}  # by a container's id
        self.stall = None  # an event: until it is set, a pull's answer does not end
        self._numbers = itertools.count()
        self.calls, self.lock = [], threading.RLock()

    def __enter__(self):
        engine = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def address_string(self):
                return "client"

            def handle_one_request(self):
                with suppress(OSError, ValueError):
                    return super().handle_one_request()
                self.close_connection = True

            def answer(self):
                engine.serve(self)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer  # noqa: N815

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads, request_queue_size = True, 32

        self._server = Server(self.path, Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()

    def add_image(self, *names, system="linux", architecture="amd64", revision="", digests=(), key=""):
        """Puts an image there; gives its id."""
        made = {
            "Os": system, "Architecture": architecture, "RepoTags": list(names), "RepoDigests": list(digests),
            "Config": {"Labels": {REVISION: revision} if revision else None},
        }  # fmt: skip
        made["Id"] = key or "sha256:" + hashlib.sha256(json.dumps(made).encode()).hexdigest()
        self.images[made["Id"]] = made
        return made["Id"]

    def ours(self):
        """What carries our label or begins with our name, beside images."""
        named = [c["Name"].strip("/") for c in self.containers.values()]
        return sorted(named) + sorted(self.volumes)

    def unlabelled(self):
        """What is there without our label."""
        found = [c["Name"] for c in self.containers.values() if "dime" not in c["Config"]["Labels"]]
        return found + [name for name, volume in self.volumes.items() if "dime" not in volume["Labels"]]

    def serve(self, handler):
        address = urlsplit(handler.path)
        path = re.sub(r"^/v\d+\.\d+", "", unquote(address.path))
        query = {key: values[0] for key, values in parse_qs(address.query).items()}
        body = self._body(handler)
        kind = re.sub(r"(containers|volumes|images|distribution)/(?!create|json|load$)[^ ]+?(?=/\w+$|$)", r"\1/X", path)
        call = f"{handler.command} {kind}"
        with self.lock:
            self.calls.append(call)
        try:
            self.before(call)
            with self.lock:
                status, content = self._do(handler.command, path, query, body)
            self.after(call)
        except RefusalError as refusal:
            status, content = refusal.status, {"message": refusal.words}
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        handler.send_response(status)
        handler.send_header(
            "Content-Type", "application/octet-stream" if isinstance(content, bytes) else "application/json"
        )
        if self.stall and kind == "/images/create":  # an answer that begins and does not go on
            handler.send_header("Transfer-Encoding", "chunked")
            handler.end_headers()
            handler.wfile.write(b"14\r\n" + b'{"status": "begins"}' + b"\r\n")
            self.stall.wait(20)
            return
        if path.endswith("/archive"):
            handler.send_header("X-Docker-Container-Path-Stat", "e30=")
        handler.send_header("Content-Length", "0" if status == 204 else str(len(raw)))
        handler.end_headers()
        if status != 204:
            handler.wfile.write(raw)

    @staticmethod
    def _body(handler):
        if handler.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(handler.rfile.readline().strip() or b"0", 16):
                parts.append(handler.rfile.read(size))
                handler.rfile.readline()
            handler.rfile.readline()
            return b"".join(parts)
        return handler.rfile.read(int(handler.headers.get("Content-Length") or 0))

    def _do(self, method, path, query, body):
        top, _, rest = path.strip("/").partition("/")
        name, _, verb = rest.rpartition("/")
        if top == "_ping":
            return 200, b"OK"
        if top == "version":
            return 200, {"ApiVersion": "1.43", "Version": "0.fake", "Os": "linux", "Arch": "amd64"}
        if top == "info":
            return 200, {"NCPU": 2, "Runtimes": {"runc": {}, "nvidia": {}}, "DefaultRuntime": "runc"}
        if top == "distribution":
            return 200, {"Descriptor": {"digest": self._registered(name)["Digest"]}, "Platforms": []}
        return getattr(self, f"_{top}")(method, rest, name, verb, query, body)

    def _registered(self, name):
        if isinstance(self.registry, str):
            raise RefusalError(500, self.registry)
        if name not in self.registry:
            raise RefusalError(404, f"manifest unknown: {name} not found")
        return self.registry[name]

    def _image(self, name):
        for one in self.images.values():
            if name in (one["Id"], one["Id"].removeprefix("sha256:")) or name in one["RepoTags"]:
                return one
        raise RefusalError(404, f"No such image: {name}")

    def _images(self, method, rest, name, verb, query, body):  # noqa: PLR0911
        if rest == "json":
            return 200, list(self.images.values())
        if rest == "create":
            if self.stall:
                return 200, b""
            full = f"{query['fromImage']}:{query['tag']}"
            found = self._registered(full)
            self.add_image(full, digests=[f"{query['fromImage']}@{found['Digest']}"], revision=found["revision"])
            return 200, b'{"status": "Pulled"}\n'
        if rest == "load":
            with tarfile.open(fileobj=io.BytesIO(body)) as tar:
                made = json.load(tar.extractfile("manifest.json"))[0]
            image = self.add_image(*made["RepoTags"], revision="of-archive", key="sha256:" + made["Config"][-64:])
            return 200, json.dumps({"stream": f"Loaded image ID: {image}\n"}).encode() + b"\n"
        if method == "DELETE":
            self.images.pop(self._image(rest)["Id"])
            return 200, []
        found = self._image(name)
        if verb == "tag":
            found["RepoTags"].append(f"{query['repo']}:{query['tag']}")
            return 201, {}
        if verb == "get":
            return 200, self._archive(found)
        return 200, found

    @staticmethod
    def _archive(image):
        content = json.dumps([{"Config": "blobs/sha256/" + image["Id"][-64:], "RepoTags": image["RepoTags"]}]).encode()
        with io.BytesIO() as stream:
            with tarfile.open(fileobj=stream, mode="w") as tar:
                member = tarfile.TarInfo("manifest.json")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            return stream.getvalue()

    def _container(self, name):
        for one in self.containers.values():
            if name in (one["Id"], one["Name"].strip("/")):
                return one
        raise RefusalError(404, f"No such container: {name}")

    def _containers(self, method, rest, name, verb, query, body):  # noqa: PLR0911
        if rest == "create":
            return self.create(query, json.loads(body))
        if rest == "json":
            wanted = json.loads(query.get("filters", "{}")).get("label", [])
            return 200, [
                {"Id": one["Id"]}
                for one in self.containers.values()
                if all(_carries(one["Config"], word) for word in wanted)
            ]
        if method == "DELETE":
            found = self._container(rest)
            if found["State"]["Running"] and query.get("force", "").lower() not in ("1", "true"):
                raise RefusalError(409, "You cannot remove a running container")
            del self.containers[found["Id"]]
            return 204, b""
        found = self._container(name)
        if verb == "start":
            code, words = self.runs([*(found["Config"]["Entrypoint"] or []), *(found["Config"]["Cmd"] or [])])
            self.said[found["Id"]] = words.encode()
            self._state(found, "running" if code is None else "exited", code or 0)
            return 204, b""
        if verb in ("kill", "stop"):
            self._state(found, "exited", 137)
            return 204, b""
        if verb == "rename":
            found["Name"] = "/" + query["name"]
            return 204, b""
        if verb == "logs":
            said = self.said.get(found["Id"], b"")
            return 200, b"\x01\0\0\0" + len(said).to_bytes(4, "big") + said if said else b""
        if verb == "archive":
            if method == "PUT":
                return 200, b""
            raise RefusalError(404, "Could not find the file")
        return 200, found

    def create(self, query, wanted):
        image = self._image(wanted["Image"])
        name = "/" + query.get("name", f"somebody{next(self._numbers)}")
        if any(one["Name"] == name for one in self.containers.values()):
            raise RefusalError(409, f"The container name {name} is already in use")
        key = hashlib.sha256(f"{name}{next(self._numbers)}".encode()).hexdigest()
        made = {
            "Id": key, "Name": name, "Image": image["Id"],
            "Config": {"Labels": {}, "Tty": False, "Entrypoint": [], "Cmd": [], **wanted},
            "HostConfig": wanted.get("HostConfig", {}),
        }  # fmt: skip
        for bind in wanted.get("HostConfig", {}).get("Binds") or ():
            self.volumes.setdefault(bind.split(":")[0], {"Name": bind.split(":")[0], "Labels": {}})
        self._state(made, "created", 0)
        self.containers[made["Id"]] = made
        return 201, {"Id": made["Id"], "Warnings": []}

    @staticmethod
    def _state(container, status, code):
        container["State"] = {
            "Status": status, "Running": status == "running", "ExitCode": code, "OOMKilled": False,
            "StartedAt": "2026-01-02T03:04:05.0Z",
        }  # fmt: skip

    def _volumes(self, method, rest, name, verb, query, body):
        if rest == "create":
            wanted = json.loads(body)
            name = wanted.get("Name") or f"{next(self._numbers):064x}"
            made = self.volumes.setdefault(name, {"Name": name, "Labels": wanted.get("Labels") or {}})
            return 201, made
        if not rest:
            wanted = json.loads(query.get("filters", "{}")).get("label", [])
            return 200, {"Volumes": [one for one in self.volumes.values() if all(_carries(one, w) for w in wanted)]}
        if rest not in self.volumes:
            raise RefusalError(404, f"get {rest}: no such volume")
        if method == "DELETE":
            users = [
                c
                for c in self.containers.values()
                if any(b.startswith(f"{rest}:") for b in c["HostConfig"].get("Binds") or ())
            ]
            if users:
                raise RefusalError(409, f"remove {rest}: volume is in use")
            del self.volumes[rest]
            return 204, b""
        return 200, self.volumes[rest]


def _carries(one, word):
    key, _, value = word.partition("=")
    return key in one["Labels"] and value in ("", one["Labels"][key])
