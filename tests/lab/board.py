"""A stand-in board: its own network, mounts, processes and disk; sshd, an engine of 2020, a kernel-like /sys."""

import json
import os
import signal
import subprocess
from pathlib import Path

from .place import (
    BRIDGE,
    BRIDGE_ADDRESS,
    HERE,
    HOME,
    STATE,
    SUBNET,
    SYSTEM_PATH,
    LabError,
    alive,
    run,
    spawn,
    stop,
    wait_for,
)

PYTHON = "/usr/bin/python3"
FOUR_G = {"up": 5.85, "down": 13.76}  # Mbit/s; tc has no delay in every kernel, so that the link shapes rates only
DISK_MB = 6000
CPU_MODELS = {"nano": "cortex-a57", "potato": "cortex-a53"}


class Board:
    """A board by name; its kind is its name. Every method may be called in any state."""

    def __init__(self, name: str, address: str):
        self.name, self.address = name, address
        self.folder = STATE / name
        self.space = f"dime-{name}"
        self.link = f"dl-{name}"

    @property
    def engine(self) -> str:
        """The address for a lab file."""
        return f"ssh://root@{self.name}"

    @property
    def pid(self) -> int:
        return alive(f"{self.name}-init", "board_init.py")

    def up(self) -> None:
        """Switches it on; nothing happens if it is."""
        if self.pid:
            self.start_docker()
            return
        self.off()
        (self.folder / "etc").mkdir(parents=True, exist_ok=True)
        self._keys()
        self._disk()
        run("ip", "netns", "add", self.space)
        run("ip", "link", "add", self.link, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        run("ip", "link", "set", self.link, "master", BRIDGE, "up")
        run("ip", "-n", self.space, "link", "set", "lo", "up")
        run("ip", "-n", self.space, "addr", "add", f"{self.address}/24", "dev", "eth0")
        self.heal()
        self._configure()
        clean = {"HOME": "/root", "LANG": "C.UTF-8", "PATH": SYSTEM_PATH}
        unshare = spawn(
            f"{self.name}-unshare", "nsenter", f"--net=/run/netns/{self.space}", "unshare", "--mount", "--pid",
            "--fork", "--uts", PYTHON, HERE / "board_init.py", self.name, self.folder, HERE / "sysfs.py", env=clean,
        )  # fmt: skip
        children = Path(f"/proc/{unshare}/task/{unshare}/children")
        wait_for(f"{self.name}'s init", lambda: children.exists() and children.read_text().strip())
        (STATE / f"{self.name}-init.pid").write_text(children.read_text().strip())
        wait_for(f"{self.name}'s sshd", self._scan)
        wait_for(f"{self.name}'s engine", self.docker_runs)

    def off(self) -> None:
        """Pulls the plug: every process of the board is killed at once, nothing is flushed."""
        stop(f"{self.name}-init", "board_init.py", signal.SIGKILL)
        stop(f"{self.name}-unshare", "unshare", signal.SIGKILL)
        run("ip", "link", "del", self.link, check=False)
        run("ip", "netns", "del", self.space, check=False)

    def reboot(self) -> None:
        self.off()
        self.up()

    def enter(self, *command: object, check: bool = True) -> subprocess.CompletedProcess:
        """Runs a command on the board, as if at its console."""
        if not self.pid:
            raise LabError(f"{self.name} is off")
        space = ("-m", "-p", "-u", "-n", "-r", "-w")
        return run("nsenter", "-t", self.pid, *space, "--", "env", "-i", f"PATH={SYSTEM_PATH}", *command, check=check)

    def docker(self, *arguments: object, check: bool = True) -> subprocess.CompletedProcess:
        """Its engine's client, at the console."""
        return self.enter("docker", *arguments, check=check)

    def docker_runs(self) -> bool:
        return self.docker("version", check=False).returncode == 0

    def stop_docker(self, number: int = signal.SIGTERM) -> None:
        self.enter("sh", "-c", f"kill -{int(number)} $(cat /run/docker.pid) 2>/dev/null", check=False)
        wait_for(f"{self.name}'s engine to stop", lambda: not self.docker_runs(), 30)
        wait_for("its process to end", lambda: self.enter("pgrep", "-x", "dockerd", check=False).returncode, 30)

    def start_docker(self) -> None:
        if not self.docker_runs():
            os.kill(self.pid, signal.SIGUSR1)
            wait_for(f"{self.name}'s engine", self.docker_runs)

    def cut(self) -> None:
        """Pulls the cable out."""
        run("ip", "-n", self.space, "link", "set", "eth0", "down")

    def heal(self) -> None:
        run("ip", "-n", self.space, "link", "set", "eth0", "up")
        run("ip", "-n", self.space, "route", "replace", "default", "via", BRIDGE_ADDRESS, "dev", "eth0")

    def shape(self, rates: dict[str, float] | None) -> None:
        """Limits the link's rates, in Mbit/s as the board sees up and down; None lifts them."""
        for tc, device, key in ((("tc", "-n", self.space), "eth0", "up"), (("tc",), self.link, "down")):
            if rates:
                rate = f"{rates[key]}mbit"
                run(
                    *tc,
                    "qdisc",
                    "replace",
                    "dev",
                    device,
                    "root",
                    "tbf",
                    "rate",
                    rate,
                    "burst",
                    "16kb",
                    "latency",
                    "400ms",
                )
            else:
                run(*tc, "qdisc", "del", "dev", device, "root", check=False)

    def fill_disk(self, leave_mb: int) -> None:
        """Leaves this much of the engine's disk; 0 or more."""
        self.free_disk()
        free = int(self.enter("stat", "-f", "-c", "%a", "/var/lib/docker").stdout) * 4096 // 2**20
        self.enter("fallocate", "-l", f"{max(free - leave_mb, 1)}M", "/var/lib/docker/filler")

    def free_disk(self) -> None:
        self.enter("rm", "-f", "/var/lib/docker/filler")

    def read(self, path: str) -> str:
        """A file of its /sys."""
        return self.enter("cat", f"/data/sys/{path}").stdout.strip()

    def runtimes(self) -> list:
        """Which runtime was asked for, and for what, in each start of a container."""
        log = self.folder / "runc.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def new_host_key(self) -> None:
        """Gives it another host key, as a board that was set up anew has; the computer does not know it."""
        (self.folder / "etc/ssh_host_ed25519_key").unlink()
        (self.folder / "etc/ssh_host_ed25519_key.pub").unlink()
        self._host_key()

    def _host_key(self) -> Path:
        key = self.folder / "etc/ssh_host_ed25519_key"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        return key

    def _keys(self) -> None:
        """Keys of board and person, and the person's ssh files, which hold the lab's boards only."""
        public = self._host_key().with_suffix(".pub").read_text()
        person = HOME / ".ssh/id_ed25519"
        if not person.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", person)
        (self.folder / "etc/authorized_keys").write_text(person.with_suffix(".pub").read_text())
        known = HOME / ".ssh/known_hosts"
        others = [line for line in _lines(known) if not line.startswith(self.address)]
        known.write_text("\n".join([*others, f"{self.address} {public.strip()}"]) + "\n")
        config = HOME / ".ssh/config"
        entry = f"Host {self.name}\n  HostName {self.address}\n  IdentityFile {person}\n"
        if entry not in (config.read_text() if config.exists() else ""):
            with config.open("a") as stream:
                stream.write(entry)

    def _scan(self) -> bool:
        return bool(run("ssh-keyscan", "-T", "1", "-t", "ed25519", self.address, check=False).stdout.strip())

    def _disk(self) -> None:
        disk = self.folder / "disk.img"
        if not disk.exists():
            with disk.open("wb") as stream:
                stream.truncate(DISK_MB * 2**20)
            run("mkfs.ext4", "-q", "-m", "0", disk)

    def _configure(self) -> None:
        etc = self.folder / "etc"
        (etc / "board.json").write_text(
            json.dumps({"sys": "/data/sys", "cpu": CPU_MODELS[self.name], "log": str(self.folder / "runc.log")})
        )
        people = [line for line in _lines(Path("/etc/passwd")) if not line.startswith("dime:")]
        (etc / "passwd").write_text("\n".join([*people, "dime:x:0:0:the README's account:/root:/bin/sh"]) + "\n")
        runtime = {"path": "/usr/local/sbin/dime-lab-runc"}
        runtimes = {"lab": runtime}
        if self.name == "nano":
            link = Path("/usr/local/sbin/nvidia-container-runtime")
            if not link.exists():
                link.symlink_to("dime-lab-runc")
            runtimes["nvidia"] = {"path": str(link)}
        (etc / "daemon.json").write_text(
            json.dumps(
                {
                    "bip": "172.30.0.1/16",
                    "insecure-registries": [SUBNET],
                    "cgroup-parent": f"/dime-{self.name}",
                    "runtimes": runtimes,
                    "default-runtime": "lab",
                }
            )
        )
        (etc / "sshd_config").write_text(
            f"ListenAddress {self.address}\nHostKey {etc}/ssh_host_ed25519_key\nPidFile /run/sshd.pid\n"
            f"AuthorizedKeysFile {etc}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin prohibit-password\nUsePAM no\nStrictModes no\nUseDNS no\nSubsystem sftp internal-sftp\n"
        )


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


NANO = Board("nano", "10.78.0.2")
POTATO = Board("potato", "10.78.0.3")
BOARDS = (NANO, POTATO)
