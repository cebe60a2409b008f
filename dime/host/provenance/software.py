"""The software of an archive: the source of the revision, a wheel of it, the lock files, and wheels of the rest."""

from __future__ import annotations

import base64
import hashlib
import io
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from importlib import metadata
from pathlib import Path

import dime
from dime.contract.errors import DeviceError, InputError
from dime.host.provenance.archive import EPOCH

PACKAGE = Path(dime.__file__).parent
CHECKOUT = PACKAGE.parent
LOCKS = ("images/host/requirements.lock", "images/host/torch-cpu.lock", "images/jetson/requirements.lock")
LIBRARIES = ("numpy", "pandas", "pyarrow", "highspy", "gurobipy", "matplotlib", "numba", "rocrate")
OLDEST = "3.10"
LEFT_OUT = ("__pycache__", ".pyc")


def versions() -> dict[str, str]:
    """Versions of Python, of DIME and of the libraries that numbers and pictures come from."""
    found = {"dime": dime.__version__, "python": ".".join(map(str, sys.version_info[:3]))}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def revision() -> str:
    """The revision of the source, with ``-changed`` where the checkout is not that; empty without one."""
    head = _git("rev-parse", "HEAD").strip()
    if not re.fullmatch("[0-9a-f]{40,64}", head) or Path(_git("rev-parse", "--show-toplevel").strip()) != CHECKOUT:
        return ""
    return head + ("-changed" if _git("status", "--porcelain", "--untracked-files=no").strip() else "")


def source(into: Path) -> None:
    """Writes the source as a tar: the files of the checkout as they are now, or without one those of the package."""
    listed = _git("ls-files", "-z").split("\0") if revision() else []
    names = sorted(name for name in listed if name) or sorted(
        path.relative_to(CHECKOUT).as_posix() for path in PACKAGE.rglob("*") if path.is_file() and _belongs(path)
    )
    with tarfile.open(into, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in names:
            path = CHECKOUT / name
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                entry = tarfile.TarInfo(f"dime-{dime.__version__}/{name}")
                entry.size, entry.mode = len(content), 0o755 if content[:2] == b"#!" else 0o644
                tar.addfile(entry, io.BytesIO(content))


def wheel(folder: Path) -> Path:
    """Writes a wheel of the package that runs now; the same package always gives the same bytes."""
    # A build leaves another one, without METADATA, in a checkout.
    about = next(one for one in metadata.distributions(name="dime") if one.read_text("METADATA"))
    name = f"dime-{about.version}"
    content = {
        path.relative_to(CHECKOUT).as_posix(): path.read_bytes()
        for path in sorted(PACKAGE.rglob("*"))
        if path.is_file() and _belongs(path)
    }
    info = f"{name}.dist-info"
    content[f"{info}/METADATA"] = (about.read_text("METADATA") or "").encode()
    content[f"{info}/entry_points.txt"] = (about.read_text("entry_points.txt") or "").encode()
    content[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: dime\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    lines = [f"{path},sha256={_hash(data)},{len(data)}\n" for path, data in content.items()]
    content[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    target = folder / f"{name}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as into:
        for path, data in content.items():
            entry = zipfile.ZipInfo(path, EPOCH)
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            into.writestr(entry, data)
    return target


def locks() -> dict[str, bytes]:
    """The lock files by their names in an archive; none where DIME runs without its checkout."""
    found = {name: CHECKOUT / name for name in LOCKS}
    return {name.replace("/", "-"): path.read_bytes() for name, path in found.items() if path.is_file()}


def wheels(folder: Path, pythons: str) -> None:
    """Downloads the wheels of everything that the check needs, each by the hash that the lock names.

    PyTorch is none of them: what is measured needs it, what is checked does not.

    Args:
        folder: Where they go.
        pythons: Versions of Python joined by commas, such as ``3.10,3.12``; ``1`` takes the oldest that DIME runs on.

    Raises:
        InputError: It is no version, or there is no lock file.
        DeviceError: They cannot be had.
    """
    lock = CHECKOUT / LOCKS[0]
    if not lock.is_file():
        raise InputError("wheels are downloaded by the lock file of a checkout of DIME; run it from one")
    for version in versions_of(pythons):
        words = ["download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
        words += [f"--python-version={version}", "--no-deps", f"--dest={folder}"]
        with tempfile.TemporaryDirectory(prefix="dime-wheels-") as place:
            chosen = Path(place, "requirements.txt")
            chosen.write_text(_lines_for(lock.read_text(encoding="utf-8"), version), encoding="utf-8")
            words.append(f"--requirement={chosen}")
            done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
            raise DeviceError(f"the wheels for Python {version} cannot be had: {last}")


def versions_of(pythons: str) -> list[str]:
    """The versions of Python that are meant.

    Raises:
        InputError: One is none that DIME runs on.
    """
    if pythons.lower() in ("1", "true", "yes"):
        return [OLDEST]
    found = [version.strip() for version in pythons.split(",")]
    for version in found:
        if not re.fullmatch(r"3\.\d+", version) or int(version[2:]) < int(OLDEST[2:]):
            raise InputError(f"'{version}' is no version of Python that DIME runs on, such as {OLDEST}")
    return found


def _lines_for(lock: str, version: str) -> str:
    """The lock's entries for a version of Python, without conditions: pip would hold them against its own version."""
    from packaging.markers import Marker

    about = {"python_version": version, "python_full_version": f"{version}.0"}
    kept = []
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock):
        requirement, semicolon, rest = entry.partition(";")
        marker, _, hashes = rest.partition("\\\n")
        if not semicolon:
            kept.append(entry)
        elif Marker(marker.strip()).evaluate(about):
            kept.append(f"{requirement.rstrip()} \\\n{hashes}")
    return "".join(kept)


def _belongs(path: Path) -> bool:
    return not any(part.endswith(LEFT_OUT) for part in path.relative_to(CHECKOUT).parts)


def _hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(CHECKOUT), *words], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout if done.returncode == 0 else ""
