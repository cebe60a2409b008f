"""Unpacks locked wheels for an image's Python and processor into a folder; nothing of them is run.

Runs on the builder's own processor for images of any other, which spares the emulation of pip:
``packages.py TARGET --python 3.6 --arch arm64 [--wheels FOLDER] [--index URL] LOCK...``. A folder of wheels with a
requirements.lock of its own stands in for every lock and every download.
"""

import argparse
import compileall
import os
import py_compile
import subprocess
import sys

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("locks", nargs="*")
    parser.add_argument("--python", required=True, help="version of the image's Python, such as 3.11")
    parser.add_argument("--arch", required=True, choices=MACHINES)
    parser.add_argument("--wheels", default="", help="folder that stands in for downloads")
    parser.add_argument("--index", default="", help="a further index, beside the usual one")
    arguments = parser.parse_intermixed_args()
    machine, digits = MACHINES[arguments.arch], arguments.python.replace(".", "")
    command = [sys.executable, "-m", "pip", "install", "--target", arguments.target, "--no-compile", "--no-deps",
               "--only-binary", ":all:", "--implementation", "cp", "--python-version", arguments.python,
               "--abi", "cp" + digits + ("m" if digits < "38" and len(digits) == 2 else ""), "--progress-bar", "off",
               "--root-user-action", "ignore", "--platform", "linux_" + machine]  # fmt: skip
    for minor in range(17, 37):
        command += ["--platform", f"manylinux_2_{minor}_{machine}"]
    command += ["--platform", "manylinux2014_" + machine]
    if arguments.index:
        command += ["--extra-index-url", arguments.index]
    own = os.path.join(arguments.wheels, "requirements.lock") if arguments.wheels else ""
    locks = arguments.locks
    if own and os.path.exists(own):
        locks = [own]
        command += ["--no-index"]
    if arguments.wheels and os.path.isdir(arguments.wheels):
        command += ["--find-links", arguments.wheels]
    os.makedirs(arguments.target, exist_ok=True)
    for lock in locks:
        subprocess.check_call([*command, "--require-hashes", "--requirement", lock])
    if arguments.python == ".".join(
        map(str, sys.version_info[:2])
    ):  # byte code is not bound to a processor, but to a version
        compileall.compile_dir(arguments.target, quiet=2, workers=0,
                               invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)  # fmt: skip


if __name__ == "__main__":
    main()
