"""A board's engine that a test has in its hands."""

import tempfile

import pytest

from dime.host.bench.session.job import Job
from dime.testing.fake_engine import FakeEngine


@pytest.fixture
def engine(monkeypatch):
    """A fake engine; this computer has none of its own."""
    with tempfile.TemporaryDirectory() as folder:  # a socket's path may have a hundred characters
        monkeypatch.setenv("DOCKER_HOST", f"unix://{folder}/none.sock")
        with FakeEngine(folder, "dime-host:latest") as fake:
            yield fake


@pytest.fixture
def job(engine, tmp_path):
    """A short profile on the fake engine's device; words change the device."""
    maps = tmp_path / "samples/alexnet/conv1"
    maps.mkdir(parents=True)
    (maps / "a.pt").write_bytes(b"map")

    def make(**keys):
        words = ("profile", "--network=alexnet", "--device=nano")
        return Job(engine.device(**keys), "alexnet", words, maps.parent, tmp_path / "results/nano/alexnet")

    return make
