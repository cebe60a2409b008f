"""An archive with real images: it is checked in one of them, and takes one from a board's engine."""

import json
import os
import re
import shlex
import subprocess
import tarfile
import zipfile

import pytest

from dime.host.bench import lab
from dime.host.provenance import images, pages
from tests.host.provenance.keep import KEPT

from .conftest import write_lab
from .place import ENGINE, REGISTRY, environment, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
HOST_IMAGE = f"{REGISTRY}/dime-host:latest"


def test_the_host_image_checks_an_archive_without_a_network(built, tmp_path):
    """By the very command of an archive's README."""
    with zipfile.ZipFile(max(KEPT.glob("dime-artifact-*.zip"))) as packed:
        packed.extractall(tmp_path)
    (place,) = (path for path in tmp_path.iterdir() if path.is_dir())
    (line,) = re.findall(r"^docker run .* check-artifact .*$", (pages.TEXTS / "README.md").read_text(), re.MULTILINE)
    words = line.replace("docker run", f"{shlex.quote(str(ENGINE / 'usr/bin/docker'))} run", 1)
    done = subprocess.run(
        ["bash", "-c", words.replace(" dime-host ", f" {HOST_IMAGE} ")], cwd=place, env={**os.environ, **environment()},
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    said = json.loads((tmp_path / "evaluation/evaluation.json").read_text())
    verdicts = {row["verdict"] for row in said["rows"]}
    assert "holds" in verdicts and "fails" not in verdicts


def test_an_image_is_packed_from_a_boards_engine(at_length, potato, tmp_path):
    pull = ("pull", "--quiet", "--platform=linux/arm64", HOST_IMAGE)
    wait_for("the image", lambda: potato.docker(*pull, check=False).returncode == 0, 120)
    digest = potato.docker("image", "inspect", "--format={{.Id}}", HOST_IMAGE).stdout.strip()
    name, said = f"dime-host@{digest}", []
    assert list(images.fetch(tmp_path, {"potato": name}, lab.load(write_lab(tmp_path)), said.append)) == []
    assert re.fullmatch(rf"image {name}: \d+ MB as the engine has it", said[0])
    with tarfile.open(images.place(tmp_path, name)) as packed:
        manifest = json.load(packed.extractfile("manifest.json"))
        config = json.load(packed.extractfile(manifest[0]["Config"]))
        assert all(layer in packed.getnames() for layer in manifest[0]["Layers"])
    assert config["architecture"] == "arm64"
