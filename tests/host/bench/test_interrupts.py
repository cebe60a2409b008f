"""Ctrl-C at every stage of a command: it ends soon, says what is kept, and that is true."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench.engines import process as local
from dime.testing import fake_engine
from dime.testing.fake_engine import FakeEngine
from tests.lab.loads import Load
from tests.lab.meter import StandInMeter

BOUND_S = 2.0
BUSY_S = 1.5 * max(1, os.getloadavg()[0] / os.cpu_count())  # what a machine that does other things too may add


class Command:
    """`dime` as a person starts it, in a folder with feature maps and a lab file."""

    def __init__(self, folder, engine, *words, terminal=False, meter=""):
        maps = folder / "samples/alexnet/conv1"
        maps.mkdir(parents=True, exist_ok=True)
        (maps / "a.pt").write_bytes(bytes(1 << 20))
        (folder / "samples/alexnet/fc1").mkdir(exist_ok=True)
        (folder / "samples/alexnet/fc1/a.pt").write_bytes(b"map")
        (folder / "lab.toml").write_text(f'[nano]\nengine = "unix://{engine.path}"\n{meter}')
        ends = [subprocess.DEVNULL, subprocess.PIPE]
        if terminal:
            self.terminal, slave = pty.openpty()
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
            ends = [slave, slave]
        alone = ["setsid", "--ctty", "--wait"] if terminal else []
        self.process = subprocess.Popen(
            [*alone, sys.executable, "-m", "dime.host", *words], cwd=folder, stdin=ends[0], stdout=ends[1], text=True,
            stderr=subprocess.STDOUT, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip

    def interrupted(self):
        """Ctrl-C; what was said until the end, which came in time."""
        self.process.send_signal(signal.SIGINT)
        started_s = time.monotonic()
        try:
            said = self.process.communicate(timeout=30)[0]
        finally:
            self.process.kill()
        took_s = time.monotonic() - started_s
        print(f"took {took_s:.2f} s")
        assert took_s < BOUND_S + BUSY_S, f"took {took_s:.1f} s: {said}"
        assert self.process.returncode == 130, said
        assert "Traceback" not in said
        return said


class Stuck:
    """An engine that does not get done with one call."""

    def __init__(self, engine, call, of_a="any", deaf=False):
        self.reached, self.freed = threading.Event(), threading.Event()
        engine.before, self._engine, self._call, self._of_a, self._deaf = self.wait, engine, call, of_a, deaf

    def wait(self, method, path):
        there = {"any", *(one.status for one in list(self._engine.containers.values()))}
        if self._deaf and self.reached.is_set():
            self.freed.wait(30)
        elif self._of_a in there and re.fullmatch(self._call, f"{method} {path}"):
            self.reached.set()
            self.freed.wait(30)


def work(container):
    container.put(**fake_engine.files(2, "running"))
    container.say(messages.encode("hello", version="1", device="nano", network="alexnet", total=4))
    container.progress(1, 2)
    container.killed.wait(60)


BRINGING, STARTING = "nothing of it runs there", "its run may have begun just now"
RUNNING, FETCHING = "the run goes on; the same command follows", "the run has ended; its results are there"


@pytest.mark.parametrize(
    "call, of_a, kept",
    [
        ("GET /version", "any", BRINGING),
        ("GET /images/.*/json", "any", BRINGING),
        ("PUT .*/archive", "any", BRINGING),
        ("POST /containers/create", "any", BRINGING),
        ("POST /containers/.*/start", "any", STARTING),
        ("GET /containers/.*/logs", "running", RUNNING),
        ("GET /containers/.*/archive", "exited", FETCHING),
        ("DELETE /containers/.*", "exited", FETCHING),
    ],
)
def test_a_profile_ends_soon_and_says_what_is_kept(engine, tmp_path, call, of_a, kept):
    engine.profile = fake_engine.complete if of_a == "exited" else work
    stuck = Stuck(engine, call, of_a)
    command = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano")
    assert stuck.reached.wait(60), command.process.communicate(timeout=1)
    said = command.interrupted()
    stuck.freed.set()
    assert f"nano: {kept}" in said
    assert ("the run goes on" in said) == (kept == RUNNING)
    time.sleep(0.2)
    assert kept != BRINGING or not [event for event in engine.events if event.startswith("start profile")]


def test_while_an_image_is_streamed(engine, tmp_path, monkeypatch):
    """At a pace at which it would take hours, and with an engine that takes no more at all."""
    with FakeEngine(tmp_path) as here:
        here.add_image("dime-host:latest", size_bytes=4 << 20)
        monkeypatch.setenv("DOCKER_HOST", f"unix://{here.path}")
        engine.images = []
        reached, freed = threading.Event(), threading.Event()
        for stuck in (False, True):
            reached.clear()

            def load(size, stuck=stuck):
                reached.set()
                freed.wait(30) if stuck else time.sleep(0.2)

            engine.on_load = load
            command = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano")
            assert reached.wait(60), command.process.communicate(timeout=1)
            said = command.interrupted()
            assert f"nano: {BRINGING}" in said
            assert "goes on;" not in said
        freed.set()
    assert engine.leftovers() == []


def test_while_it_runs_and_then_the_same_command_goes_on(engine, tmp_path):
    engine.profile = work
    words = ("profile", "--net=alexnet", "--device=nano")
    command = Command(tmp_path, engine, *words)
    for _ in range(600):
        if any(container.status == "running" for container in list(engine.containers.values())):
            break
        time.sleep(0.05)
    said = command.interrupted()
    assert f"nano: {RUNNING}" in said
    container = engine.get("dime-profile")
    container.put(**fake_engine.files())
    container.end()
    again = Command(tmp_path, engine, *words)
    said = again.process.communicate(timeout=60)[0]
    assert again.process.returncode == 0, said
    assert engine.leftovers() == []


class Terminal:
    """A person at a terminal in which a command runs."""

    def __init__(self, command):
        self._command = command

    def reads(self, words, seconds=60):
        text, until_s = "", time.monotonic() + seconds
        while words not in text:
            assert time.monotonic() < until_s, f"'{words}' did not come: {text}"
            if select.select([self._command.terminal], [], [], 0.1)[0]:
                text += os.read(self._command.terminal, 65536).decode(errors="replace")
        return text

    def types(self, keys):
        os.write(self._command.terminal, keys.encode())


@pytest.mark.parametrize("answer", ["d", "s"])
def test_who_is_asked_may_take_time_to_answer_and_a_run_time_to_stop(engine, tmp_path, answer):
    def stop(container, wish):
        threading.Timer(2.5, container.end, [143]).start()

    engine.profile, engine.on_kill = work, stop
    command = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano", terminal=True)
    person = Terminal(command)
    person.reads("%|")
    person.types("\x03")
    person.reads("[s]top them?")
    time.sleep(2.5)
    person.types(f"{answer}\r")
    answered_s = time.monotonic()
    person.reads(
        "the run goes on; the same command" if answer == "d" else "stopped as you wished. 2 of 4 bundles are kept"
    )
    assert command.process.wait(30) == 130
    if answer == "d":
        assert time.monotonic() - answered_s < BOUND_S + BUSY_S
    left = [one.status for one in engine.containers.values() if "profile" in one.command]
    assert left == ["running" if answer == "d" else "exited"]


@pytest.mark.parametrize("call", ["PUT .*/archive", "GET /containers/.*/logs"])
def test_with_a_meter(engine, tmp_path, call):
    engine.profile = work
    with StandInMeter(Load(idle_w=3.0), baud=500000) as meter:
        stuck = Stuck(engine, call, "running" if "logs" in call else "any")
        words = f'meter = {{name = "smartpower3", port = "{meter.port}", baud = 500000}}\n'
        command = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano", meter=words)
        assert stuck.reached.wait(60), command.process.communicate(timeout=1)
        assert "half done" not in command.interrupted(), "the logger was cut off"
        stuck.freed.set()


def test_what_an_ended_command_could_not_remove_the_next_one_does(engine, tmp_path):
    engine.profile = fake_engine.complete
    stuck = Stuck(engine, "PUT .*/archive")
    command = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano")
    assert stuck.reached.wait(60)
    command.process.kill()
    command.process.wait()
    stuck.freed.set()
    engine.before = lambda method, path: None
    assert len(engine.leftovers()) == 1
    again = Command(tmp_path, engine, "profile", "--net=alexnet", "--device=nano")
    said = again.process.communicate(timeout=60)[0]
    assert again.process.returncode == 0, said
    assert engine.leftovers() == []


@pytest.mark.parametrize(
    "words, call",
    [
        (("collect",), "GET /containers/json"),
        (("collect",), "POST /containers/create"),
        (("collect",), "GET /containers/.*/archive"),
        (("clean-device", "--device=nano"), "DELETE /containers/.*"),
        (("clean-device", "--device=nano"), "GET /volumes"),
        (("doctor",), "GET /info"),
        (("doctor",), "GET /images/.*/json"),
    ],
)
def test_other_commands_that_wait_for_an_engine(engine, tmp_path, words, call):
    engine.run().put(**fake_engine.files())
    stuck = Stuck(engine, call)
    command = Command(tmp_path, engine, *words)
    assert stuck.reached.wait(60), command.process.communicate(timeout=1)
    said = command.interrupted()
    stuck.freed.set()
    assert "may still be there" in said or "is still there" in said or "interrupted" in said


@pytest.mark.parametrize(
    "words, call",
    [
        (("profile", "--net=alexnet", "--device=nano"), "PUT .*/archive"),
        (("collect",), "GET /containers/.*/archive"),
        (("clean-device", "--device=nano"), "DELETE /containers/.*"),
        (("doctor",), "GET /containers/.*/logs"),
    ],
)
def test_an_engine_that_answers_no_more_keeps_nobody(engine, tmp_path, words, call):
    if words[0] != "profile":
        engine.run().put(**fake_engine.files())
    stuck = Stuck(engine, call, deaf=True)
    command = Command(tmp_path, engine, *words)
    assert stuck.reached.wait(60), command.process.communicate(timeout=1)
    assert "interrupted" in command.interrupted()
    stuck.freed.set()


def test_a_device_side_that_does_not_hear_at_once_is_not_waited_for():
    deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
            "time.sleep(60)"]  # fmt: skip
    started_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt), local._process(deaf, dict(os.environ), "edge") as process:
        process.stdout.readline()
        started_s = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - started_s < BOUND_S
    assert process.poll() is None, "it was killed with its clocks fixed"
    process.kill()
    process.wait()


def test_a_device_side_that_fails_and_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(local, "STUBBORN_S", 0.2)
    deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); "
            "time.sleep(60)"]  # fmt: skip
    with pytest.raises(DeviceError), local._process(deaf, dict(os.environ), "edge") as process:
        process.stdout.readline()
        raise DeviceError("no room")
    assert process.poll() is not None
