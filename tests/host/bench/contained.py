"""Containers of fake engines whose commands run as processes here, with their files in folders of their own."""

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from pathlib import Path

import dime
from dime.host.bench import attended
from dime.testing import fake_engine

ENTRY = [sys.executable, str(Path(dime.__file__).with_name("entry.py")), "device"]
IMAGE = "dime-host:latest"


class Host:
    """What is on a fake engine's computer: its containers' processes, and the folders that they see.

    Attributes:
        words: What each container was told to do, as it was told.
        started: Called with a container and its process when that has begun.
        environment: More of the processes' environment.
        token: What containers find instead of their token; None leaves it.
    """

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        self.words, self.processes, self.environment, self.token = [], {}, {}, None
        self.started = lambda container, process: None
        engine.work, engine.archive, engine.on_kill = self._work, self._archive, self._kill

    def _work(self, container):
        words = container.command[3:]
        if words[0] in ("hashes", "restore"):
            container.end(0)
            return
        self.words.append(words)
        inside = self.folder / container.id[-4:]
        inside.mkdir()
        token = container.found(attended.TOKEN)[0].files.get(".token")
        if token is not None:
            (inside / "token").write_bytes(self.token or token)
        for name, content in container.found("/samples")[0].files.items():
            path = inside / "samples" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        own = {
            f"--token={attended.TOKEN}": f"--token={inside / 'token'}",
            f"--out={attended.OUT}": f"--out={inside / 'out'}",
            "--samples=/samples": f"--samples={inside / 'samples'}",
        }
        command = [*ENTRY, *(own.get(word, word) for word in words)]
        process = self.processes[container.id] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **self.environment},
        )  # fmt: skip
        self.started(container, process)
        for line in process.stdout:
            container.say(line.rstrip("\n"))
        code = process.wait()
        container.end(code if code >= 0 else 128 - code)

    def _kill(self, container, wish):
        if container.id in self.processes:
            self.processes[container.id].send_signal(signal.Signals[wish])

    def _archive(self, container, path):
        table = self.folder / container.id[-4:] / "out" / os.path.basename(path)
        return [fake_engine.tar({table.name: table.read_bytes()})] if table.exists() else None

    def close(self):
        for process in self.processes.values():
            process.kill()
            process.wait()


@contextmanager
def hosts(folder, *names):
    """Computers with a fake engine each, by name."""
    with ExitStack() as stack:
        found = {}
        for name in names:
            (folder / name).mkdir()
            (folder / f"in-{name}").mkdir()
            engine = stack.enter_context(fake_engine.FakeEngine(folder / name, IMAGE))
            found[name] = Host(folder / f"in-{name}", engine)
            stack.callback(found[name].close)
        yield found


def write_lab(path, hosts, **more):
    """A lab file of these computers; ``nano="board = 'nano'"`` adds a line to one."""
    entries = [
        f'[{name}]\nengine = "{host.engine.address}"\nimage = "{IMAGE}"\n{more.get(name, "")}\n'
        for name, host in hosts.items()
    ]
    path.write_text("\n".join(entries))
    return str(path)
