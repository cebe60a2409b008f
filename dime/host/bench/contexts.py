"""Where the docker command of this computer finds its engine: DOCKER_HOST, its context, or the usual socket."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from dime.contract.errors import DeviceError

if TYPE_CHECKING:
    from docker.tls import TLSConfig

USUAL_SOCKET = "unix:///var/run/docker.sock"
NAME = "this computer"


class Endpoint(NamedTuple):
    """An engine's address, and the folder of the certificates that it wants; None for none."""

    address: str
    certificates: Path | None = None
    verified: bool = True


def endpoint() -> Endpoint:
    """Finds this computer's engine in the order of the docker command.

    Raises:
        DeviceError: A context is chosen that cannot be used.
    """
    if address := os.environ.get("DOCKER_HOST"):
        verified = bool(os.environ.get("DOCKER_TLS_VERIFY"))
        folder = os.environ.get("DOCKER_CERT_PATH")
        wanted = verified or folder
        return Endpoint(address, (Path(folder) if folder else _folder()) if wanted else None, verified)
    name = os.environ.get("DOCKER_CONTEXT") or _chosen()
    if name in ("", "default"):
        return Endpoint(USUAL_SOCKET)
    key = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()
    found = _read(_folder() / "contexts/meta" / key / "meta.json", name)
    try:
        docker = found["Endpoints"]["docker"]
        host = docker["Host"]
        if not isinstance(host, str) or "://" not in host:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise _unusable(name, "it names no engine") from None
    certificates = _folder() / "contexts/tls" / key / "docker"
    return Endpoint(host, certificates if certificates.is_dir() else None, not dict.get(docker, "SkipTLSVerify", False))


def tls(found: Endpoint) -> TLSConfig | Literal[False]:
    """The SDK's settings for an engine that wants certificates; False for one that wants none.

    Raises:
        DeviceError: The certificates are not there.
    """
    import docker.errors
    import docker.tls

    if found.certificates is None:
        return False
    files = {name: found.certificates / f"{name}.pem" for name in ("ca", "cert", "key")}
    pair = (str(files["cert"]), str(files["key"])) if files["cert"].is_file() else None
    authority = str(files["ca"]) if files["ca"].is_file() else None
    try:
        return docker.tls.TLSConfig(client_cert=pair, ca_cert=authority, verify=found.verified)
    except docker.errors.TLSParameterError as error:
        raise DeviceError(f"{NAME}: the certificates in {found.certificates} cannot be used: {error}") from None


def _folder() -> Path:
    home = os.environ.get("HOME") or os.path.expanduser("~")
    return Path(os.environ.get("DOCKER_CONFIG") or Path(home, ".docker"))


def _chosen() -> str:
    """The context that `docker context use` has chosen; empty for the default one."""
    try:
        found = json.loads((_folder() / "config.json").read_bytes())
    except (OSError, ValueError, RecursionError):  # the docker command passes over a file that it cannot read, too
        return ""
    name = found.get("currentContext", "") if isinstance(found, dict) else ""
    return name if isinstance(name, str) else ""


def _read(path: Path, name: str) -> dict[str, dict[str, dict[str, object]]]:
    try:
        found: dict[str, dict[str, dict[str, object]]] = json.loads(path.read_bytes())
        return found
    except FileNotFoundError:
        raise _unusable(name, "there is none of that name") from None
    except (OSError, ValueError, RecursionError) as error:
        raise _unusable(name, f"{path}: {getattr(error, 'strerror', None) or 'it is damaged'}") from None


def _unusable(name: str, reason: str) -> DeviceError:
    return DeviceError(f"{NAME}: docker's context '{name}' cannot be used: {reason}; type: docker context ls")
