"""Fetches what no package index has for a Jetson: NVIDIA's PyTorch wheel, and torchvision from its source.

``sources.py torch|torchvision VERSION-OF-TORCH TARGET [--wheels FOLDER] [--sha256 HASH]``. Neither is imported: without
the libraries that NVIDIA's runtime mounts, PyTorch does not load in a build. torchvision is its Python part, which
holds every network; its compiled image operators (nms, roi_align) need CUDA to be built and nothing here calls them.
A file of that name in FOLDER stands in for the download.
"""

import argparse
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import urllib.request
import zipfile


def content(pin, name, wheels):
    """Bytes of a pinned file, from the folder of wheels or from its address."""
    local = os.path.join(wheels, name)
    if wheels and os.path.exists(local):
        with open(local, "rb") as stream:
            return stream.read()
    print("downloads", pin["url"], flush=True)
    try:
        with urllib.request.urlopen(pin["url"], timeout=60) as answer:
            return answer.read()
    except OSError as error:
        sys.exit(f"{pin['url']}: {error}; a folder with {name} can stand in: --build-context wheels=DIR")


def check(what, found, wanted):
    if not wanted:
        print(f"WARNING: {what} has no recorded hash; this one has sha256 {found}: put it into pins.json")
    elif found != wanted:
        sys.exit(f"{what}: sha256 is {found}, not {wanted} as pinned; refused")


def torch(pins, target, wheels, sha256):
    pin = pins["torch"]
    data = content(pin, pin["file"], wheels)
    check(pin["file"], hashlib.sha256(data).hexdigest(), sha256 or pin["sha256"])
    zipfile.ZipFile(io.BytesIO(data)).extractall(target)
    scripts = os.path.join(target, pin["file"].rsplit("-", 3)[0] + ".data")
    shutil.rmtree(scripts, ignore_errors=True)


def torchvision(pins, target, wheels, _):
    """Installs the Python part; the pinned hash is over names and hashes of its files, as published in its wheel."""
    pin = pins["torchvision"]
    digest, files = hashlib.sha256(), {}
    with tarfile.open(fileobj=io.BytesIO(content(pin, f"vision-{pin['version']}.tar.gz", wheels))) as archive:
        for member in archive.getmembers():
            name = member.name.partition("/")[2]
            if member.isfile() and name.startswith("torchvision/") and name.endswith(".py") and "/csrc/" not in name:
                files[name] = archive.extractfile(member).read()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
    check("torchvision " + pin["version"], digest.hexdigest(), pin["sha256"])
    files["torchvision/version.py"] = f"__version__ = {pin['version']!r}\ncuda = None\n".encode()
    for name, text in files.items():
        path = os.path.join(target, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as stream:
            stream.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("torch", "torchvision"))
    parser.add_argument("version", help="version of PyTorch: a key of pins.json")
    parser.add_argument("target")
    parser.add_argument("--wheels", default="")
    parser.add_argument("--sha256", default="", help="hash of the wheel, where pins.json has none")
    arguments = parser.parse_args()
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pins.json")) as stream:
        pins = json.load(stream)
    if arguments.version not in pins:
        sys.exit(f"TORCH={arguments.version} is not one of {', '.join(sorted(pins))}")
    os.makedirs(arguments.target, exist_ok=True)
    {"torch": torch, "torchvision": torchvision}[arguments.what](
        pins[arguments.version], arguments.target, arguments.wheels, arguments.sha256
    )


if __name__ == "__main__":
    main()
