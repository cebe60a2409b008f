"""What goes into a device's volumes and comes out of them: tar archives that are checked on both ways."""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import shutil
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, cast

from dime.contract.errors import DeviceError, TableError

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image

LABEL = "dime"  # everything that is ours on an engine carries it
BLOCK = 1 << 20
STILL_THERE = "the results are still on the device, the same command gets them"
LATE_S = 1.0  # for a container to appear whose making was interrupted
MARK = "complete"  # written last into a volume, so that a transfer that broke off is told from a whole one
HASHER = (
    "import hashlib, os, sys\n"
    "for folder, _, names in sorted(os.walk(sys.argv[1])):\n"
    "    for name in sorted(names):\n"
    "        path = os.path.join(folder, name)\n"
    "        print(hashlib.sha256(open(path, 'rb').read()).hexdigest(), os.path.relpath(path, sys.argv[1]))\n"
)


def digest(folder: Path) -> tuple[str, dict[str, Path]]:
    """Hashes a folder by the names and the contents of its files.

    Args:
        folder: A folder of feature maps; temporary and hidden files do not count.

    Returns:
        The SHA-256 and the files by their path inside it.

    Raises:
        TableError: It holds no file, or one that cannot be read.
    """
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(".part")
    }
    if not files:
        raise TableError(f"{folder} holds no feature maps; type: dime samples --net={folder.name}")
    whole = hashlib.sha256()
    for name, path in files.items():
        try:
            whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        except OSError as error:
            raise TableError(f"{path}: {error.strerror}") from None
    return whole.hexdigest(), files


@contextmanager
def helper(
    client: docker.DockerClient,
    image: Image,
    volume: str = "",
    run: bool = False,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Container]:
    """A container without network and rights that lends its view of a volume at /volume; gone whatever ends it.

    Args:
        client: The engine.
        image: Any image of the right platform.
        volume: The volume's name; empty for none.
        run: Whether its command is started; without it the container only exists.
        name: The container's name; one that nobody has, if empty.
        labels: More labels.
        **options: More of Docker's options, such as the command.
    """
    key = secrets.token_hex(6)
    defaults: dict[str, Any] = {
        "entrypoint": ["true"],
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "init": True,
        "healthcheck": {"test": ["NONE"]},
        "volumes": {volume: {"bind": "/volume", "mode": "rw"}} if volume else {},
    }
    answered = False
    try:
        container = client.containers.create(
            image,
            name=name or f"{LABEL}-helper-{key}",
            labels={**(labels or {}), LABEL: "helper", "dime.key": key},
            **{**defaults, **options},
        )
        answered = True
        if run:
            container.start()
        yield container
        _withdraw(client, key, 0.0)
    except BaseException as error:
        refused = not answered and isinstance(error, Exception)
        with suppress(Exception):  # the first cause is told; what stays carries the label
            _withdraw(client, key, 0.0 if answered or refused else LATE_S)
        raise


def _withdraw(client: docker.DockerClient, key: str, seconds: float) -> None:
    """Removes a container by its key; one whose making was not waited for may come into being a little later."""
    deadline = time.monotonic() + seconds
    while True:
        found = client.api.containers(all=True, quiet=True, filters={"label": f"dime.key={key}"})
        for one in found:
            client.api.remove_container(one["Id"], v=True, force=True)
        if found or time.monotonic() >= deadline:
            return
        time.sleep(0.1)


def send(
    client: docker.DockerClient, image: Image, volume: str, files: dict[str, Path], progress: Callable[[str], None]
) -> bool:
    """Fills a volume once.

    Args:
        client: The engine.
        image: Any image of the right platform.
        volume: The volume's name, which must name its content.
        files: Files by their path in the volume.
        progress: Called with a short text on the way.

    Returns:
        Whether anything had to be sent.

    Raises:
        DeviceError: The device's disk is full; the volume is removed again.
    """
    import docker.errors

    client.volumes.create(volume, labels={LABEL: "samples"})
    with helper(client, image, volume) as container:
        try:
            container.get_archive(f"/volume/{MARK}")
            return False
        except docker.errors.NotFound:
            pass
        with ExitStack() as opened:
            with on_this_computer(Path(tempfile.gettempdir())):
                archive = opened.enter_context(tempfile.TemporaryFile())
                with tarfile.open(fileobj=archive, mode="w") as tar:
                    for name, path in files.items():
                        tar.add(path, name, filter=_plain)
                    tar.addfile(tarfile.TarInfo(MARK))
                total, sent = archive.tell(), 0
                archive.seek(0)

            def blocks() -> Iterator[bytes]:
                nonlocal sent
                while block := archive.read(BLOCK):
                    yield block
                    sent += len(block)
                    progress(f"samples {sent / total:.0%} of {total / 1e6:.0f} MB")

            try:
                container.put_archive("/volume", cast(Any, blocks()))
                return True
            except docker.errors.APIError as error:
                if "no space left" not in str(error.explanation):
                    raise
    client.volumes.get(volume).remove(force=True)
    raise DeviceError(f"the disk is full, {total / 1e6:.0f} MB of samples do not fit")


def put(container: Container, path: str, content: bytes) -> None:
    """Writes one small file into a volume of a container that need not run."""
    folder, _, name = path.rpartition("/")
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o444
            tar.addfile(member, io.BytesIO(content))
        container.put_archive(folder, archive.getvalue())


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """A file without traces of this computer: everybody may read it, nobody in particular owns it."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o755 if member.isdir() else 0o644
    return member


@contextmanager
def on_this_computer(path: Path, then: str = "") -> Iterator[None]:
    """Tells what this computer's files refuse; what speaks to an engine stays outside, its errors are OSErrors too.

    Args:
        path: What is being read or written.
        then: What follows from it, for the message.

    Raises:
        DeviceError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        name = path if error.filename is None else os.fsdecode(error.filename)
        raise DeviceError(f"cannot use {name}: {error.strerror or error}{'; ' if then else ''}{then}") from None


def receive(container: Container, path: str, folder: Path) -> None:
    """Unpacks a container's folder into a new folder of this computer.

    Args:
        container: A container, running or not.
        path: The folder in it.
        folder: Where its files go; it must not exist.

    Raises:
        DeviceError: The archive holds what does not belong into a result, or this computer's disk is full.
    """
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    blocks = iter(container.get_archive(path, chunk_size=BLOCK)[0])
    try:
        with ExitStack() as files:
            with on_this_computer(folder, STILL_THERE):
                archive = files.enter_context(tempfile.TemporaryFile())
            while block := next(blocks, b""):
                with on_this_computer(folder, STILL_THERE):
                    archive.write(block)
            with on_this_computer(folder, STILL_THERE):
                archive.seek(0)
                with tarfile.open(fileobj=archive) as tar:
                    unpack(tar, PurePosixPath(path).name, aside)
                os.replace(aside, folder)
    except tarfile.TarError:
        raise DeviceError(f"{folder.name} did not arrive intact; the same command fetches it") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def unpack(tar: tarfile.TarFile, top: str, folder: Path) -> None:
    """Unpacks an archive from a device, which is not trusted: only plain files and folders below the one asked for.

    Args:
        tar: The archive.
        top: The name of its only top folder.
        folder: Where that folder's content goes.

    Raises:
        DeviceError: It holds a link, a device file, or a path that leads elsewhere.
    """
    folder.mkdir(parents=True)
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if (
            not (member.isfile() or member.isdir())
            or not parts
            or parts[0] != top
            or ".." in parts
            or "\0" in member.name
        ):
            raise DeviceError(
                f"the device's archive holds '{member.name}', which is no plain file below {top}; refused"
            )
        target = folder.joinpath(*parts[1:])
        if member.isdir():
            target.mkdir(exist_ok=True)
        elif (source := tar.extractfile(member)) is not None:
            with source, open(target, "xb") as output:
                shutil.copyfileobj(source, output)


def hashes(client: docker.DockerClient, image: Image, volume: str, folder: str, seconds: float = 120) -> dict[str, str]:
    """SHA-256 of every file below a folder of a volume, computed on the device.

    Args:
        client: The engine.
        image: The image, whose Python is used.
        volume: The volume's name.
        folder: The folder in it.
        seconds: Longest time for it.

    Returns:
        Hashes by path.

    Raises:
        DeviceError: The device could not compute them.
    """
    options: dict[str, Any] = {"entrypoint": ["python3", "-c", HASHER, f"/volume/{folder}"], "user": "0:0"}
    with helper(client, image, volume, run=True, **options) as container:
        wait(container, seconds)
        text = container.logs(stdout=True, stderr=False).decode()
    return {name: value for value, _, name in (line.partition(" ") for line in text.splitlines())}


def verify(folder: Path, expected: dict[str, str]) -> None:
    """Compares a folder with hashes.

    Raises:
        DeviceError: A file is missing or differs.
    """
    for name, value in expected.items():
        path = folder / name
        with on_this_computer(path, STILL_THERE):
            same = path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == value
        if not same:
            raise DeviceError(f"{name} did not arrive intact; it is still on the device, the same command fetches it")


def discard(client: docker.DockerClient, volume: str, seconds: float = 15) -> None:
    """Removes a volume, if it is there; somebody who looks into it just now is waited for."""
    import docker.errors

    deadline = time.monotonic() + seconds
    while True:
        try:
            client.volumes.get(volume).remove(force=True)
            return
        except docker.errors.NotFound:
            return
        except docker.errors.APIError as error:
            if error.status_code != 409 or time.monotonic() > deadline:
                raise
        time.sleep(0.25)


def wait(container: Container, seconds: float) -> int:
    """Waits for a container to end.

    Returns:
        Its exit code.

    Raises:
        DeviceError: It did not end in time.
    """
    deadline = time.monotonic() + seconds
    container.reload()
    while container.status != "exited":
        if time.monotonic() > deadline:
            raise DeviceError(f"a helper container did not end within {seconds:.0f} s")
        time.sleep(0.3)
        container.reload()
    return int(container.attrs["State"]["ExitCode"])


def merge(source: Path, target: Path) -> None:
    """Moves a folder into place; what is there already must be equal.

    Args:
        source: A folder that was checked.
        target: The run's folder; files of this computer's own, such as a power log, may be in it.

    Raises:
        TableError: A file of another content is there; nothing is overwritten.
        DeviceError: This computer's disk refuses.
    """
    with on_this_computer(target, STILL_THERE):
        if not target.exists():
            os.replace(source, target)
            return
        for path in sorted(source.rglob("*")):
            there = target / path.relative_to(source)
            if path.is_file() and there.exists() and there.read_bytes() != path.read_bytes():
                raise TableError(f"{there} holds another run; nothing was overwritten, take another folder")
        for path in sorted(source.rglob("*")):
            there = target / path.relative_to(source)
            if path.is_dir():
                there.mkdir(exist_ok=True)
            elif not there.exists():
                os.replace(path, there)


def remove(folder: Path) -> None:
    """Removes a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
