"""Images are built by the docker command; here one that is a stand-in tells what it was asked for."""

import json
import os
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError, InputError
from dime.host.bench import lab
from dime.host.bench.images import build
from dime.host.bench.lab import Lab, LabDevice
from dime.host.cli import host_image

ROOT = Path(__file__).resolve().parents[4]
DIGEST = "sha256:" + "d" * 64


class Docker:
    """A docker command; its answers by the words that it is called with, everything else succeeds in silence."""

    def __init__(self, folder):
        self.folder, self.log = folder, folder / "calls"
        (folder / "answers").mkdir()
        (folder / "docker").write_text(
            f'#!/bin/sh\n{{ echo "$@"; }} >> {self.log}\n'
            f'case "$*" in *"buildx bake"*) env > {folder}/environment;; esac\n'
            f'for one in {folder}/answers/*; do [ -e "$one" ] || continue; case "$*" in *"$(head -1 "$one")"*)\n'
            'sed 1,2d "$one"; exit "$(sed -n 2p "$one")";; esac; done\n'
        )
        (folder / "docker").chmod(0o755)
        self.answer("buildx version", "v1")
        self.answer("DriverStatus", '[["driver-type","io.containerd.snapshotter.v1"]]')
        self.answer("buildx inspect", "Driver: docker")
        self.answer("Server.Arch", "linux/amd64")

    def answer(self, words, text="", code=0):
        (self.folder / "answers" / re.sub(r"\W", "_", words)).write_text(f"{words}\n{code}\n{text}\n")

    @property
    def calls(self):
        return self.log.read_text().splitlines() if self.log.exists() else []

    @property
    def settings(self):
        return dict(
            line.split("=", 1) for line in (self.folder / "environment").read_text().splitlines() if "=" in line
        )


@pytest.fixture
def docker(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for key in ("SOURCE", "REVISION", "SBOM", "TAG", "SOURCE_DATE_EPOCH"):
        monkeypatch.delenv(key, raising=False)
    return Docker(tmp_path)


def baked(docker):
    return next(call for call in docker.calls if call.startswith("buildx bake"))


def test_what_the_labels_say_is_found_out(docker, monkeypatch):
    docker.answer("imagetools inspect nvcr.io", DIGEST)
    docker.answer("imagetools inspect docker/buildkit", "no such host", 1)
    build.build(tried=False)
    settings = docker.settings
    assert re.fullmatch("[0-9a-f]{40}(-dirty)?", settings["REVISION"])
    assert int(settings["SOURCE_DATE_EPOCH"]) > 1.6e9
    assert settings["JETSON_BASE_DIGEST"] == DIGEST
    assert settings["SBOM"] == "" and "HOST_BASE_DIGEST" not in settings, "the host's base is pinned"
    docker.answer("imagetools inspect docker/buildkit", DIGEST)
    build.build("host", tried=False)
    assert docker.settings["SBOM"] == "1"


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("https://somebody:secret@git.example.org/team/dime.git", "https://git.example.org/team/dime"),
        ("git@git.example.org:team/dime.git", "https://git.example.org/team/dime"),
        ("ssh://git@git.example.org:2222/team/dime.git", "https://git.example.org/team/dime"),
        ("/home/me/dime", ""),
        ("file:///home/me/dime", ""),
        ("../dime", ""),
        ("", ""),
    ],
)
def test_the_source_is_an_address_for_others_without_secrets(remote, address):
    assert build.source_address(remote) == address


def test_an_engine_with_one_platform_a_name_is_told_before_it_builds(docker):
    docker.answer("DriverStatus", '[["Backing Filesystem","extfs"]]')
    with pytest.raises(
        DeviceError, match=r"holds one platform a name, host's are linux/amd64,linux/arm64: give PLATFORM="
    ):
        build.build("host")
    build.build("host", "linux/amd64", tried=False)
    assert docker.settings["ATTEST"] == "" and "--set=*.platform=linux/amd64" in baked(docker)


def test_what_was_pushed_is_found_here_by_its_short_name(docker):
    docker.answer("image inspect bench:5000/dime-host:latest", code=1)
    docker.answer("run --rm", messages.encode("description", facts={"torch": "2.13", "gpu": "", "processor": "cpu"}))
    build.push("bench:5000", "host")
    calls = docker.calls
    assert docker.settings["REGISTRY"] == "bench:5000/"
    assert "pull --quiet bench:5000/dime-host:latest" in calls
    assert "tag bench:5000/dime-host:latest dime-host:latest" in calls


def test_a_device_gets_its_image_and_this_computer_the_host_image(docker):
    bench = Lab({"nano": LabDevice("nano", "ssh://nano", "nano", "dime-jetson", "linux/arm64")})
    assert build.for_device("nano", bench) == [("jetson", "linux/arm64"), ("host", "linux/amd64")]
    assert build.for_device("potato", bench) == [("host", "linux/arm64,linux/amd64")]
    docker.answer("DriverStatus", "[]")
    assert build.for_device("potato", bench) == [("host", "linux/arm64")]


def test_the_host_image_is_this_computers_own_or_the_registrys(docker, capsys):
    docker.answer("image inspect", code=1)
    with pytest.raises(DeviceError, match=r"nowhere to be had, as dime-host:latest .*; type: make build IMAGE=host"):
        host_image.find("")
    with pytest.raises(DeviceError, match="as dime-host:latest or bench:5000/dime-host:latest"):
        host_image.find("bench:5000")
    assert "pull bench:5000/dime-host:latest" in docker.calls
    (docker.folder / "answers/image_inspect").unlink()
    docker.answer('image.revision"}} bench:5000/dime-host', "0123456789abcdef")
    docker.answer('image.revision"}} dime-host', code=1)
    assert host_image.find("bench:5000") == "bench:5000/dime-host:latest"
    assert "runs in bench:5000/dime-host:latest, revision 0123456789ab" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"image": "jetsn"}, "unknown image 'jetsn'; .*did you mean 'jetson'"),
        ({"registry": "http://bench:5000"}, 'write "bench:5000"'),
        ({"platform": "linux/amd64,linux/arm65"}, "unknown platform 'linux/arm65'; .*did you mean 'linux/arm64'"),
    ],
)
def test_what_is_built_is_checked_before_anything_starts(words, message):
    with pytest.raises(InputError, match=message):
        build.build(**words)


def test_a_device_to_build_for_may_be_a_kind_of_board():
    assert build.of_device("potato", lab.Lab({})) == ("host", "linux/arm64")
    with pytest.raises(InputError, match="kinds of board: generic, nano, potato, standin; did you mean 'potato'"):
        build.of_device("potatoe", lab.Lab({}))


def test_a_container_of_the_docker_command_is_labelled_and_goes_with_it(tmp_path, monkeypatch):
    log = tmp_path / "log"
    (tmp_path / "docker").write_text(f'#!/bin/sh\necho "$@" >> {log}\n[ "$1" = rm ] || exec sleep 60\n')
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(build, "SMOKE_S", 1.0)
    with pytest.raises(DeviceError, match="hangs"):
        build.smoke("host", "dime-host", "linux/amd64")
    run, gone = log.read_text().splitlines()
    name = run.split("--name ")[1].split()[0]
    assert run.startswith(f"run --rm --name {name} --label dime=helper ")
    assert gone == f"rm --force --volumes {name}"


def test_digests_of_bases_are_written_where_the_build_reads_them(docker, tmp_path):
    place = tmp_path / "checkout"
    for name in ("scripts/lock.sh", "docker/docker-bake.hcl"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    docker.answer("imagetools inspect", DIGEST)
    subprocess.run([place / "scripts/lock.sh", "bases"], check=True)
    text = (place / "docker/docker-bake.hcl").read_text()
    assert f'"HOST_BASE" {{ default = "python:3.11-slim-bookworm@{DIGEST}" }}' in text
    assert f'"JETSON_BASE" {{ default = "nvcr.io/nvidia/l4t-base:r32.7.1@{DIGEST}" }}' in text
    assert text.count(DIGEST) == 3


def test_every_wheel_of_an_image_has_a_hash():
    for lock in (ROOT / "images/host").glob("*.lock"):
        blocks = [block for block in re.split(r"(?m)^(?=[a-z])", lock.read_text()) if block.strip()]
        assert all("--hash=sha256:" in block for block in blocks), lock
    pairs = [
        {line.split("+")[0].split(" ")[0] for line in (ROOT / f"images/host/{name}.lock").read_text().splitlines()
         if line.startswith(("torch==", "torchvision=="))}
        for name in ("torch", "torch-cpu")
    ]  # fmt: skip
    assert pairs[0] == pairs[1] and len(pairs[0]) == 2
    assert "pip install" not in (ROOT / "images/host/Dockerfile").read_text()


def test_a_health_check_asks_the_power_server():
    from dime.host.metering import alive

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def answer():
            for words in (b"hello,1,replay,0.005,\n", b"challenge,abc\n", b"SSH-2.0-x\n"):
                with server.accept()[0] as connection:
                    assert connection.recv(100) == b"hello,1\n"
                    connection.sendall(words)

        threading.Thread(target=answer, daemon=True).start()
        assert [alive.asks(port) for _ in range(3)] == ["hello", "challenge", ""]
    assert alive.asks(port) == ""


def test_the_power_server_asks_itself_and_does_not_restart_for_ever():
    text = (ROOT / "docker/compose.yml").read_text()
    assert "dime.host.metering.alive" in text and "restart: on-failure:3" in text
    assert json.dumps("dime-host:latest")[1:-1] in text
