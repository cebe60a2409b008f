"""The first process of a stand-in board: mounts, sshd, the engine and /sys; it starts the engine anew on SIGUSR1."""

import os
import signal
import subprocess
import sys


def command(*words, **options):
    subprocess.run(words, check=True, **options)


def start(log, *words):
    with open(log, "ab") as stream:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True)


def engine(folder):
    for pid_file in ("/run/docker.pid", "/run/docker/containerd/containerd.pid"):
        if os.path.exists(pid_file):
            os.unlink(pid_file)
    start(folder + "/dockerd.log", "/usr/sbin/dockerd", "--config-file", folder + "/etc/daemon.json")


def main(name, folder, sysfs):
    command("mount", "--make-rprivate", "/")
    for path in ("/var/lib/docker", "/data"):
        os.makedirs(path, exist_ok=True)
    command("mount", "-o", "loop", folder + "/disk.img", "/var/lib/docker")
    command("mount", "-t", "tmpfs", "tmpfs", "/run")
    command("mount", "-t", "tmpfs", "tmpfs", "/data")
    for path in ("/run/sshd", "/run/lock", "/data/sys"):
        os.makedirs(path)
    open("/etc/dime-lab.json", "a").close()
    command("mount", "--bind", folder + "/etc/board.json", "/etc/dime-lab.json")
    if os.path.exists(folder + "/etc/passwd"):
        command("mount", "--bind", folder + "/etc/passwd", "/etc/passwd")
    command("mount", "-t", "proc", "proc", "/proc")
    command("mount", "-t", "binfmt_misc", "binfmt_misc", "/proc/sys/fs/binfmt_misc")
    command("hostname", name)
    start(folder + "/sysfs.log", sys.executable, sysfs, name, "/data/sys")
    start(folder + "/sshd.log", "/usr/sbin/sshd", "-D", "-e", "-f", folder + "/etc/sshd_config")
    engine(folder)
    signal.signal(signal.SIGUSR1, lambda *_: engine(folder))
    while True:
        try:
            os.wait()
        except ChildProcessError:
            signal.pause()


main(*sys.argv[1:])
