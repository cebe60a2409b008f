"""Container images and feature maps in an archive: what took part is named, and packed where that is asked for."""

import io
import json
import shutil
import tarfile
from pathlib import Path

import pytest

from dime.contract.run import IMAGE_VARIABLE, RunSpec
from dime.host.bench import fleet, lab
from dime.host.bench.engines import docker
from dime.host.provenance import check, document, images, manifest
from dime.host.provenance.make import Wanted, make
from dime.testing import fake_engine
from tests.host.bench.conftest import engine, job  # noqa: F401  fixtures
from tests.host.conftest import dime
from tests.host.provenance.conftest import LINK, RAW
from tests.host.provenance.test_artifact import edit


def noted(spec):
    return [session.get("image") for session in spec.sessions]


def test_a_container_is_told_its_image(engine, job, monkeypatch):  # noqa: F811
    monkeypatch.setattr(docker, "POLL_S", 0.02)
    told = []

    def complete(container):
        told.extend(word for word in container.config["Env"] if word.startswith(IMAGE_VARIABLE))
        fake_engine.complete(container)

    engine.profile = complete
    fleet.profile([job()])
    assert told == [f"{IMAGE_VARIABLE}=dime-host@{engine.image('dime-host:latest')['Id']}"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """A study of a board's profile, and of a server's; both are to be told where they ran."""
    folder = tmp_path_factory.mktemp("images")
    shutil.copytree(RAW, folder / "results", ignore=shutil.ignore_patterns("joint_*", "plans", "*.md"))
    dime("join", "results/nano/tiny", folder=folder)
    dime("solve", "--net=tiny", "--edge=nano", "--server=pc", LINK, "--replicates=0", folder=folder)
    return folder


def in_containers(planned, folder, image):
    """The study, whose board's profile was made in a container; and a lab file with its engine."""
    shutil.copytree(planned / "results", folder / "results")
    path = folder / "results/nano/tiny/run.json"
    sessions = json.loads(path.read_text()).get("sessions") or [
        {"rows": 0, "start_ns": 1, "boot_id": None, "clocks": []}
    ]
    edit(path, sessions=[{**one, "image": image} for one in sessions])


def test_images_are_named_and_packed_on_request(planned, tmp_path, engine, monkeypatch):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    digest = "sha256:" + "ab" * 32
    engine.add_image("bench.example.org:5000/dime-host:latest", digests=[f"bench.example.org:5000/dime-host@{digest}"],
                     size_bytes=2_000_000)  # fmt: skip
    in_containers(planned, tmp_path, f"dime-host@{digest}")
    Path("lab.toml").write_text(f'[nano]\nengine = "{engine.address}"\nboard = "nano"\nimage = "dime-host"\n')
    said = []
    make(Wanted(("results/plans/tiny/001",), "x", software=False), said.append)
    archive = tmp_path / "artifact"
    assert document.read(archive).images == {"nano": f"dime-host@{digest}"}
    assert (
        f"the container image of nano, dime-host@{digest}: `IMAGES=1` packs it" in (archive / "README.md").read_text()
    )
    assert not any("image" in line for line in said)
    make(Wanted(("results/plans/tiny/001",), "x", software=False, images=True), said.append)
    packed = images.place(archive, f"dime-host@{digest}")
    assert packed.relative_to(archive).as_posix() == "images/dime-host-abababababab.tar"
    assert f"image dime-host@{digest}: 2 MB as the engine has it" in said
    with tarfile.open(fileobj=io.BytesIO(packed.read_bytes())) as tar:
        assert "manifest.json" in tar.getnames()
    assert "IMAGES=1" not in (archive / "README.md").read_text()
    assert not manifest.changes(archive) and check.check(archive).holds
    there = [path for path in archive.rglob("*") if path.is_file() and path.suffix != ".tar"]
    assert there and not any(b"bench.example.org" in path.read_bytes() for path in there)


@pytest.mark.parametrize("case", ["another image", "no such device", "a local device"])
def test_an_image_that_cannot_be_had_is_listed(tmp_path, engine, case):  # noqa: F811
    devices = {"another image": {"nano": engine.device()}, "no such device": {}}
    bench = lab.Lab(devices.get(case, {"nano": lab.LabDevice("nano")}))
    (line,) = images.fetch(tmp_path, {"nano": "dime-host@sha256:" + "cd" * 32}, bench, print)
    expected = "does not have it any more" if case == "another image" else "no device of the lab file has the engine"
    assert expected in line and not list(tmp_path.rglob("*.tar"))


def test_each_session_s_image_is_named():
    spec = RunSpec.__new__(RunSpec)
    spec.device, spec.sessions = "nano", [{"image": "a@sha256:1"}, {"rows": 3}, {"image": "b@sha256:2"}]
    assert images.of_runs([spec]) == {"nano": "a@sha256:1, b@sha256:2"}


@pytest.mark.slow
def test_feature_maps_are_packed_on_request(profiled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("results", "samples"):
        shutil.copytree(profiled / name, name)
    dime("solve", "--net=alexnet", "--link=WiFi", "--goal=latency", "--replicates=0", folder=tmp_path)
    said = []
    make(Wanted(("results/plans/alexnet/001",), "x", software=False, maps=True), said.append)
    (place,) = Path("samples").iterdir()
    there = [path.relative_to("samples") for path in place.rglob("*") if path.is_file()]
    assert all((tmp_path / "artifact/samples" / path).is_file() for path in there)
    size = sum((Path("samples") / path).stat().st_size for path in there)
    assert f"feature maps of alexnet: {len(there)} files, {size / 1e6:.0f} MB" in said
    assert "the feature maps:" not in Path("artifact/README.md").read_text()
