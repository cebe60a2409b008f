#!/usr/bin/python3 -S
"""An OCI runtime before runc: it gives a container what this machine lacks, and says which runtime was asked for.

A machine without CAP_SYS_RESOURCE in its bounding set cannot start privileged containers on an engine of 2020, so that
capability is dropped. In a stand-in board, which /etc/dime-lab.json describes, /sys is the board's own,
and the emulated processor is the board's model, so that an instruction that it lacks is illegal here too. A device
entry for a pseudo terminal becomes a bind mount, since a made node of one does not work.
"""

import json
import os
import sys


def bundle_of(arguments):
    for position, word in enumerate(arguments):
        if word in ("--bundle", "-b"):
            return arguments[position + 1]
        if word.startswith("--bundle="):
            return word.partition("=")[2]
    return "."


def change(config, board):
    for names in (config["process"].get("capabilities") or {}).values():
        if "CAP_SYS_RESOURCE" in names:
            names.remove("CAP_SYS_RESOURCE")
    mounts, linux = config.setdefault("mounts", []), config.setdefault("linux", {})
    for device in [d for d in linux.get("devices") or [] if d.get("major") == 136]:
        linux["devices"].remove(device)
        mounts.append(bind(f"/dev/pts/{device['minor']}", device["path"], "rw"))
    if board.get("cpu"):
        config["process"].setdefault("env", []).append("QEMU_CPU=" + board["cpu"])
    if board.get("sys"):
        # Only a privileged container has a writable /sys; the others see the board's read-only, as they would there.
        old = [m for m in mounts if m["destination"] == "/sys"]
        mode = "ro" if any("ro" in m.get("options", ()) for m in old) else "rw"
        mounts[:] = [m for m in mounts if not (m["destination"] + "/").startswith("/sys/")]
        mounts.append(bind(board["sys"], "/sys", mode))
        for key in ("maskedPaths", "readonlyPaths"):
            linux[key] = [path for path in linux.get(key) or [] if not path.startswith("/sys")]


def bind(source, destination, mode):
    return {"type": "bind", "source": source, "destination": destination, "options": ["rbind", "rprivate", mode]}


def main():
    arguments = sys.argv[1:]
    if "create" in arguments or "run" in arguments:
        path = os.path.join(bundle_of(arguments), "config.json")
        with open(path) as stream:
            config = json.load(stream)
        try:
            with open("/etc/dime-lab.json") as stream:
                board = json.load(stream)
        except (OSError, ValueError):
            board = {}
        change(config, board)
        with open(path, "w") as stream:
            json.dump(config, stream)
        if board.get("log"):
            with open(board["log"], "a") as stream:
                stream.write(json.dumps([os.path.basename(sys.argv[0]), config["process"]["args"]]) + "\n")
    os.execv("/usr/sbin/runc", ["runc", *arguments])


main()
