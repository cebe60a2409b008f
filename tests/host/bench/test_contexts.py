"""This computer's engine is the one that the docker command speaks to."""

import hashlib
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.contract.errors import DeviceError
from dime.host.bench import clients, contexts
from dime.testing.fake_engine import FakeEngine


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return tmp_path


def add(folder, name, host, **more):
    key = hashlib.sha256(name.encode()).hexdigest()
    place = folder / "contexts/meta" / key
    place.mkdir(parents=True)
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": {"Host": host, **more}}}
    (place / "meta.json").write_text(json.dumps(meta))
    return folder / "contexts/tls" / key / "docker"


def test_the_context_that_is_in_use_names_the_engine(folder, monkeypatch):
    assert clients.this_computer().engine == "unix:///var/run/docker.sock"
    add(folder, "rootless", "unix:///run/user/1000/docker.sock")
    add(folder, "far", "ssh://dime@far")
    (folder / "config.json").write_text('{"currentContext": "rootless"}')
    assert clients.this_computer().engine == "unix:///run/user/1000/docker.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert clients.this_computer().host == "far"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert clients.this_computer().engine == "unix:///var/run/docker.sock"
    monkeypatch.setenv("DOCKER_HOST", "unix:///mine.sock")
    assert clients.this_computer().engine == "unix:///mine.sock"


def test_the_sdk_finds_the_same(folder):
    sdk = pytest.importorskip("docker.context").ContextAPI
    if not hasattr(sdk, "kwargs_from_context"):
        pytest.skip("this SDK knows no contexts")
    with FakeEngine(folder) as engine:
        add(folder, "mine", engine.address)
        (folder / "config.json").write_text('{"currentContext": "mine"}')
        with clients.connect(clients.this_computer()) as client:
            assert client.version()["Version"] == "0.fake"
        assert contexts.endpoint().address == engine.address == sdk.kwargs_from_context()["base_url"]


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        (None, "there is none of that name"),
        ("{", "it is damaged"),
        ("[1]", "it names no engine"),
        ("{}", "it names no engine"),
    ],
)
def test_a_context_that_cannot_be_used_is_one_line(folder, monkeypatch, meta, reason):
    add(folder, "x", "unix:///x")
    path = next(folder.glob("contexts/meta/*/meta.json"))
    path.unlink() if meta is None else path.write_text(meta)
    monkeypatch.setenv("DOCKER_CONTEXT", "x")
    with pytest.raises(
        DeviceError, match=f"this computer: docker's context 'x' cannot be used: .*{reason}.*docker context ls"
    ):
        clients.this_computer()


def test_certificates_are_those_of_the_context_or_of_the_environment(folder, monkeypatch):
    place = add(folder, "far", "tcp://far:2376", SkipTLSVerify=False)
    place.mkdir(parents=True)
    for name in ("ca", "cert", "key"):
        (place / f"{name}.pem").write_text("")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    assert contexts.endpoint() == ("tcp://far:2376", place, True)
    assert contexts.tls(contexts.endpoint()).cert == (f"{place}/cert.pem", f"{place}/key.pem")
    monkeypatch.setenv("DOCKER_HOST", "tcp://other:2376")
    assert contexts.tls(contexts.endpoint()) is False
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    assert contexts.endpoint() == ("tcp://other:2376", folder, True)


VALUES = st.recursive(
    st.none() | st.booleans() | st.text(max_size=9) | st.integers(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("Endpoints", "docker", "Host")), inner)
    ),
    max_leaves=6,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()), st.booleans())
def test_no_file_is_worse_than_a_line(folder, monkeypatch, content, chosen):
    key = hashlib.sha256(b"x").hexdigest()
    (folder / "contexts/meta" / key).mkdir(parents=True, exist_ok=True)
    (folder / "contexts/meta" / key / "meta.json").write_bytes(content)
    (folder / "config.json").write_bytes(b'{"currentContext": "x"}' if chosen else content)
    try:
        assert "://" in clients.this_computer().engine
    except DeviceError as error:
        assert str(error).startswith("this computer: docker's context")
