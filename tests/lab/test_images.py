"""The images as they are built: who they run as, what is in them, on every processor that they are for."""

import json
import re
import urllib.request

import pytest

from dime.contract.errors import DeviceError
from dime.host.bench.images import build
from dime.host.bench.lab import IMAGES

from .place import REGISTRY, docker

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
DESCRIBE = ("python3", "-m", "dime.device", "describe", "--device=local")


def in_image(image, platform, *words, env=()):
    variables = [part for one in env for part in ("--env", one)]
    return docker(
        "run", "--rm", "--init", "--network=none", "--platform", platform, *variables, "--entrypoint", words[0],
        f"{REGISTRY}/{image}:latest", *words[1:],
    )  # fmt: skip


def manifest(image, tag):
    """What the registry has under a name."""
    request = urllib.request.Request(
        f"http://{REGISTRY}/v2/{image}/manifests/{tag}", headers={"Accept": "application/vnd.oci.image.index.v1+json"}
    )
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize("image, platforms", [("dime-host", {"amd64", "arm64"}), ("dime-jetson", {"arm64"})])
def test_one_name_stands_for_all_platforms(built, image, platforms):
    manifests = manifest(image, "latest")["manifests"]
    found = {one["platform"]["architecture"] for one in manifests} - {"unknown"}
    assert found == platforms
    assert any(one.get("annotations", {}).get("vnd.docker.reference.type") for one in manifests), "no provenance"


def test_the_boards_own_instructions_are_enough(tried):
    """AlexNet ran in each when it was built, under the oldest processor that it is for."""
    assert build.PROCESSORS == {"host": "cortex-a53", "jetson": "cortex-a57"}
    for image in IMAGES:
        assert tried[image, "linux/arm64"].startswith("works: torch "), tried


def test_the_device_side_says_what_it_is(built):
    lines = in_image("dime-jetson", "linux/arm64", *DESCRIBE, env=["QEMU_CPU=cortex-a57"]).stdout.splitlines()
    assert json.loads(lines[-1])["facts"]["versions"]["torch"]


def test_they_do_not_run_as_root_and_carry_labels(built):
    for image, platform in (("dime-host", "linux/amd64"), ("dime-jetson", "linux/arm64")):
        assert in_image(image, platform, "id", "-u").stdout.strip() == "1000"
        config = json.loads(docker("image", "inspect", f"{REGISTRY}/{image}:latest").stdout)[0]["Config"]
        labels = config["Labels"]
        about = {key.removeprefix("org.opencontainers.image."): value for key, value in labels.items()}
        assert re.fullmatch("[0-9a-f]{40}(-dirty)?", about["revision"])
        assert about["version"] and about["title"] == image and about["base.name"]
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", about["created"])
        assert "unknown" not in about.values()
        assert "Healthcheck" not in config


def test_the_revision_is_pushed_too(built):
    for name in IMAGES.values():
        labels = json.loads(docker("image", "inspect", f"{REGISTRY}/{name}:latest").stdout)[0]["Config"]["Labels"]
        revision = labels["org.opencontainers.image.revision"]
        assert manifest(name, revision) == manifest(name, "latest")


def test_the_jetsons_image_has_no_host_side(built):
    listing = in_image("dime-jetson", "linux/arm64", "ls", "/dime/dime").stdout.split()
    assert set(listing) == {"__init__.py", "contract", "device"}


def test_nobodys_secrets_are_in_them(built):
    for image in IMAGES.values():
        history = docker("history", "--no-trunc", f"{REGISTRY}/{image}:latest").stdout.lower()
        assert not [word for word in ("password", "wlssecret", "licenseid", "token=") if word in history]


def test_the_same_source_and_date_give_the_same_layers(built):
    def layers():
        return json.loads(docker("image", "inspect", f"{REGISTRY}/dime-jetson:latest").stdout)[0]["RootFS"]["Layers"]

    before = layers()
    build.build("jetson", "", REGISTRY, no_cache=True, tried=False, **built)  # dated by the revision, as that was
    assert layers() == before


def test_an_image_is_tried_when_it_is_built(tried, tmp_path):
    """A wheel for a newer processor is found before it reaches a board: here a torch that dies as such a wheel does."""
    assert "plans and logs" in tried["host", "linux/amd64"]
    (tmp_path / "Dockerfile").write_text(
        f"FROM {REGISTRY}/dime-jetson:latest\nCOPY torch.py /broken/torch.py\nENV PYTHONPATH=/broken:/dime:/dime-site\n"
    )
    (tmp_path / "torch.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    name = f"{REGISTRY}/dime-broken:latest"
    docker("buildx", "build", "-q", "--platform=linux/arm64", "--provenance=false", "--push", "-t", name, tmp_path)
    with pytest.raises(DeviceError, match=r"dime-broken.*illegal instruction: .* \(cortex-a57\)"):
        build.smoke("jetson", name, "linux/arm64")
