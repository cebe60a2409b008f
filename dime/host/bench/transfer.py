"""What goes into a device's volumes and comes out of them: tar archives that are checked on both ways."""

from __future__ import annotations

import hashlib
import io
import os
import re
import secrets
import shlex
import shutil
import socket
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from dime.contract import files as contract_files
from dime.contract.errors import DeviceError, TableError
from dime.contract.run import FROM_DEVICE, TIMINGS
from dime.host.bench import answers
from dime.host.bench.containers import Options
from dime.host.common.units import plain

if TYPE_CHECKING:
    import docker
    from docker.models.containers import Container
    from docker.models.images import Image
    from typing_extensions import Unpack

RESULTS = "dime-results-"  # before a run's key: the volume of its results
LABEL = "dime"  # everything that is ours on an engine carries it
BY = "dime.by"  # which process it must not outlast
BLOCK = 1 << 20
SENT_BYTES = 64 << 10  # so often is asked whether the person still waits
SMALL_BYTES = 64 << 20  # of any file of a run but its table
STILL_THERE = "the results are still on the device, the same command gets them"
END_POLL_S, KILLED_S = 0.25, 15.0
LATE_S = 1.0  # for a container to appear whose making was interrupted
NOT_INTACT = (tarfile.TarError, ValueError, ArithmeticError, LookupError)  # what the tar library makes of damage
ENTRY = ["python3", "-m", "dime.device"]
MARK = "complete"  # written last into a volume, so that a transfer that broke off is told from a whole one


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
        if path.is_file() and not path.name.startswith(".") and not path.name.endswith(contract_files.PART)
    }
    if not files:
        again = shlex.join(["dime", "samples", f"--net={folder.name}", f"--samples={folder.parent}"])
        raise TableError(f"{folder} holds no feature maps; remove it and type: {again}")
    whole = hashlib.sha256()
    for name, path in files.items():
        try:
            whole.update(f"{name}\0{contract_files.digest(path)}\n".encode())
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
    **options: Unpack[Options],
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
    defaults: Options = {
        "entrypoint": ["true"],
        "network_mode": "none",
        "cap_drop": ["ALL"],
        "init": True,
        "healthcheck": {"test": ["NONE"]},
        "volumes": {volume: {"bind": "/volume", "mode": "rw"}} if volume else {},
    }
    container = made(client, image, key, name, labels, **cast(Options, {**defaults, **options}))
    try:
        if run:
            container.start()
        yield container
        withdraw(client, key)
    except BaseException:
        with suppress(Exception):  # the first cause is told; what stays carries the label
            withdraw(client, key)
        raise


def made(
    client: docker.DockerClient,
    image: Image,
    key: str,
    name: str = "",
    labels: Mapping[str, str] | None = None,
    **options: Unpack[Options],
) -> Container:
    """Makes a container that lasts no longer than this command, which has to remove it by its key.

    Args:
        client: The engine.
        image: Its image.
        key: By what it is found.
        name: The container's name; one that nobody has, if empty.
        labels: More labels.
        **options: Docker's options.
    """
    _sweep(client)
    try:
        return client.containers.create(
            image,
            name=name or f"{LABEL}-helper-{key}",
            labels={**(labels or {}), LABEL: "helper", "dime.key": key, BY: by()},
            **options,
        )
    except BaseException as error:
        with suppress(Exception):
            withdraw(client, key, 0.0 if isinstance(error, Exception) else LATE_S)
        raise


def by() -> str:
    """This process, as a label of what must not outlast it."""
    return _process(os.getpid())


def _process(number: int) -> str:
    return f"{socket.gethostname()}:{number}"


def is_orphan(label: object) -> bool:
    """Whether what carries this label was made by a command of this computer that has ended."""
    text = label if isinstance(label, str) else ""
    number = int(text.rpartition(":")[2]) if re.fullmatch(r".+:[0-9]{1,9}", text, re.ASCII) else 0
    return bool(number) and text == _process(number) and not lives(number)


def _sweep(client: docker.DockerClient) -> None:
    """Removes what commands of this computer have left that were ended before they could."""
    for container in ours(client, "helper"):
        if is_orphan(answers.label(container, BY)):
            withdraw(client, answers.label(container, "dime.key"))


def lives(number: int) -> bool:
    """Whether a process of this computer is there."""
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def withdraw(client: docker.DockerClient, key: str, seconds: float = 0.0) -> None:
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
        if read(container, f"/volume/{MARK}") is not None:
            return False
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
                while block := archive.read(SENT_BYTES):
                    yield block
                    sent += len(block)
                    progress(f"samples {sent / total:.0%} of {total / 1e6:.0f} MB")

            try:
                container.put_archive("/volume", blocks())
                return True
            except docker.errors.APIError as error:
                if "no space left" not in str(error.explanation):
                    raise
    with suppress(docker.errors.APIError):  # that the disk is full is what is told
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


def receive(container: Container, path: str, folder: Path, watch: Callable[[], None] = lambda: None) -> None:
    """Unpacks a run's folder in a container into a new folder of this computer.

    Args:
        container: A container, running or not.
        path: The folder in it.
        folder: Where its files go; it must not exist.
        watch: Called now and then; what it raises ends it.

    Raises:
        DeviceError: The archive holds what does not belong into a result, or this computer's disk is full.
    """
    aside = folder.with_name(f".{folder.name}{contract_files.PART}")
    shutil.rmtree(aside, ignore_errors=True)
    with on_this_computer(folder, STILL_THERE):
        blocks = answers.archive(container, path, *answers.room(folder.parent))
    try:
        with ExitStack() as files:
            with on_this_computer(folder, STILL_THERE):
                archive = files.enter_context(tempfile.TemporaryFile(dir=folder.parent))
            for block in blocks:
                watch()
                with on_this_computer(folder, STILL_THERE):
                    archive.write(block)
            with on_this_computer(folder, STILL_THERE):
                archive.seek(0)
                with tarfile.open(fileobj=cast(IO[bytes], _Careful(archive)), mode="r:") as tar:
                    unpack(tar, PurePosixPath(path).name, aside)
                contract_files.move(aside, folder)
    except NOT_INTACT:
        raise DeviceError("the archive of its results did not arrive intact; the same command fetches it") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def read(container: Container, path: str) -> bytes | None:
    """One small file of a container; None if it is not there.

    Raises:
        DeviceError: It is no plain file, or a large one.
    """
    import docker.errors

    try:
        archive = _Careful(
            io.BytesIO(b"".join(answers.archive(container, path, SMALL_BYTES, f"{SMALL_BYTES >> 20} MiB; refused")))
        )
        with tarfile.open(fileobj=cast(IO[bytes], archive), mode="r:") as tar:
            member = tar.next()
            if member is None or member.type != tarfile.REGTYPE or member.issparse():
                raise DeviceError(f"{path} there is no plain file")
            source = tar.extractfile(member)
            assert source is not None
            content = io.BytesIO()
            shutil.copyfileobj(source, content)
            return content.getvalue()
    except docker.errors.NotFound:
        return None
    except NOT_INTACT:
        raise DeviceError(f"{path} did not arrive intact; the same command reads it again") from None


class _Careful:
    """An archive's file for the tar library, which would take a header of any size into memory."""

    def __init__(self, file: IO[bytes]):
        self.seek, self.tell, self._read = file.seek, file.tell, file.read

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= BLOCK:
            raise tarfile.ReadError("a header is too large")
        return self._read(size)


def unpack(tar: tarfile.TarFile, top: str, folder: Path) -> None:
    """Unpacks an archive from a device, which is not trusted: only a run's own files right below the folder asked for.

    Args:
        tar: The archive.
        top: The name of its only top folder.
        folder: Where that folder's content goes.

    Raises:
        DeviceError: It holds a link, a device file, a path that leads elsewhere, or a file that is none of a run's.
    """
    folder.mkdir(parents=True)
    seen = set[str]()
    for member in tar:
        first, *rest = PurePosixPath(member.name).parts or ("",)
        name = rest[0] if len(rest) == 1 else ""
        plain_file = member.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and not member.issparse()
        if first == top and not rest and member.isdir():
            continue
        if first == top and plain_file and name.removesuffix(contract_files.PART) in FROM_DEVICE and name not in seen:
            seen.add(name)
            if name.endswith(contract_files.PART):  # what a run that was killed had not finished to write
                continue
            if name != TIMINGS and member.size > SMALL_BYTES:
                raise DeviceError(f"the device's {name} is over {SMALL_BYTES >> 20} MiB; refused")
            source = tar.extractfile(member)
            assert source is not None
            with source, open(folder / name, "xb") as output:
                shutil.copyfileobj(source, output)
            continue
        raise DeviceError(
            f"the device's archive holds '{plain(member.name[:100])}', which is no plain file of a run below {top}; "
            "refused"
        )


def hashes(client: docker.DockerClient, image: Image, volume: str, folder: str, seconds: float = 120) -> dict[str, str]:
    """SHA-256 of a run's files in a folder of a volume, computed on the device.

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
    words = [*ENTRY, "hashes", f"--out=/volume/{folder}"]
    with helper(client, image, volume, run=True, entrypoint=words, user="0:0") as container:
        wait(container, seconds)
        facts = answers.described(answers.output(container), "hashes")
    return {name: str(value) for name, value in facts.items() if name in FROM_DEVICE} if isinstance(facts, dict) else {}


def verify(folder: Path, expected: dict[str, str]) -> None:
    """Compares a run's files with hashes.

    Raises:
        DeviceError: A file is missing or differs.
    """
    with on_this_computer(folder, STILL_THERE):
        found = {path.name: contract_files.digest(path) for path in folder.iterdir()}
    for name in FROM_DEVICE:
        if found.get(name) != expected.get(name):
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


def is_there(client: docker.DockerClient, volume: str) -> bool:
    """Whether an engine has a volume."""
    import docker.errors

    try:
        client.volumes.get(volume)
    except docker.errors.NotFound:
        return False
    return True


def ours(client: docker.DockerClient, *kinds: str) -> list[Container]:
    """Containers that carry our label, of some kinds."""
    found = client.containers.list(all=True, filters={"label": LABEL}, ignore_removed=True)
    return [container for container in found if answers.label(container, LABEL) in kinds]


def end(container: Container, seconds: float) -> None:
    """Asks a container to end, and kills it if it does not in time; one that does not run is left alone."""
    import docker.errors

    deadline, asked = time.monotonic() + seconds, ""
    container.reload()
    while answers.state(container).status not in ("created", "exited", "dead"):
        wish = "SIGTERM" if time.monotonic() < deadline else "SIGKILL"
        if time.monotonic() > deadline + KILLED_S:
            raise DeviceError(f"its container {container.short_id} cannot be ended")
        if wish != asked:
            asked = wish
            with suppress(docker.errors.APIError):  # it has ended just now
                container.kill(wish)
        time.sleep(END_POLL_S)
        container.reload()


def wait(container: Container, seconds: float) -> int:
    """Waits for a container to end.

    Returns:
        Its exit code.

    Raises:
        DeviceError: It did not end in time.
    """
    deadline = time.monotonic() + seconds
    container.reload()
    while (state := answers.state(container)).status != "exited":
        if time.monotonic() > deadline:
            raise DeviceError(f"a helper container did not end within {seconds:.0f} s")
        time.sleep(0.3)
        container.reload()
    return state.code


def remove(folder: Path) -> None:
    """Removes a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
