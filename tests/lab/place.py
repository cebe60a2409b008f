"""Where the lab lives, and the small helpers that all of it uses."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STATE = Path(os.environ.get("DIME_LAB_STATE") or Path(tempfile.gettempdir()) / "dime-lab")
RUN = Path("/run/dime-lab")
HOME = STATE / "home"
ENGINE = STATE / "engine"
SOCKET = RUN / "docker.sock"
BRIDGE, BRIDGE_ADDRESS = "dime-lab", "10.78.0.1"
SUBNET = "10.78.0.0/24"
REGISTRY = f"{BRIDGE_ADDRESS}:5000"
REPOSITORY = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class LabError(Exception):
    """The lab cannot be made here; the message says why."""


def say(text: str) -> None:
    print(f"lab: {text}", file=sys.stderr, flush=True)


def run(*command: object, check: bool = True, **options) -> subprocess.CompletedProcess:
    """Runs a command; its words follow the error if it fails."""
    words = [str(word) for word in command]
    result = subprocess.run(words, text=True, capture_output=True, stdin=subprocess.DEVNULL, check=False, **options)
    if check and result.returncode:
        raise LabError(f"{' '.join(words)[:300]}: exit {result.returncode}: {(result.stderr or result.stdout)[-600:]}")
    return result


def wait_for(what: str, ready, seconds: float = 60) -> None:
    """Waits until ``ready()`` is true."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not there after {seconds:.0f} s")
        time.sleep(0.05)


def spawn(name: str, *command: object, env: dict[str, str] | None = None) -> int:
    """Starts a process of its own session, with its log and its pid in the state folder."""
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env,
            start_new_session=True,
        )  # fmt: skip
    (STATE / f"{name}.pid").write_text(str(process.pid))
    return process.pid


def alive(name: str, mark: str) -> int:
    """The pid that a pid file names, if that process is still the one that was started (its command has ``mark``)."""
    try:
        pid = int((STATE / f"{name}.pid").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return pid if state != "Z" and mark.encode() in Path(f"/proc/{pid}/cmdline").read_bytes() else 0
    except (OSError, ValueError):
        return 0


def stop(name: str, mark: str, first: int = signal.SIGTERM, seconds: float = 20) -> None:
    """Ends a process that `spawn` started, by force if it will not go."""
    for number, patience in ((first, seconds), (signal.SIGKILL, 5)):
        pid = alive(name, mark)
        if not pid:
            break
        os.kill(pid, number)
        deadline = time.monotonic() + patience
        while alive(name, mark) and time.monotonic() < deadline:
            time.sleep(0.05)
    (STATE / f"{name}.pid").unlink(missing_ok=True)


def environment() -> dict[str, str]:
    """What a person at the lab's computer has set: her home with the ssh keys, the engine, its client."""
    path = f"{ENGINE / 'usr/bin'}:{os.environ['PATH']}"
    return {**os.environ, "HOME": str(HOME), "DOCKER_HOST": f"unix://{SOCKET}", "PATH": path}


def docker(*arguments: object, check: bool = True, **options) -> subprocess.CompletedProcess:
    """The client of the lab computer's engine."""
    return run(ENGINE / "usr/bin/docker", *arguments, check=check, env=environment(), **options)
