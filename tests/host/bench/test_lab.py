import importlib
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.bench import boards, lab

EXAMPLE = Path(__file__).parents[3] / "docker" / "lab.example.toml"


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return path


def test_four_lines_add_a_nano(tmp_path):
    table = EXAMPLE.read_text().split("\n[nano]")[1].split("\n\n")[0]
    assert len(("[nano]" + table).splitlines()) == 4
    nano = lab.load(written(tmp_path, "[nano]" + table)).devices["nano"]
    assert (nano.engine, nano.host) == ("ssh://dime@nano", "nano")
    assert (nano.image, nano.platform, nano.runtime, nano.set_clock) == ("dime-jetson", "linux/arm64", "nvidia", True)
    assert nano.meter == lab.Meter("smartpower3", {"port": "/dev/ttyUSB0", "baud": 921600})


def test_the_example_is_a_lab_file():
    assert list(lab.load(EXAMPLE).devices) == ["nano", "potato", "wiscad", "here"]


def test_without_a_lab_file_this_machine_is_both_the_weak_device_and_the_server(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert [(device.name, device.engine, device.threads) for device in lab.load().choose("local")] == [
        ("edge", "local", (1,)),
        ("server", "local", (0,)),
    ]
    with pytest.raises(InputError, match=r"unknown device 'nano'; known: edge, local, server.*no lab.toml"):
        lab.load().choose("nano")


def test_choose_by_name_tag_and_all_names_each_device_once(tmp_path):
    bench = lab.load(EXAMPLE)
    assert [d.name for d in bench.choose("potato,edge, nano")] == ["potato", "nano"]
    assert len(bench.choose("all,server")) == 4


@pytest.mark.parametrize(
    "text, message",
    [
        ("[a]\nengine = 'local'\nbord = 'nano'", r"\[a\].*unknown key 'bord'; known: board"),
        ("[a]\nboard = 'nano'", "lacks engine: local, unix"),
        ("[a]\nengine = 'http://x'", "engine 'http://x' is not one of"),
        ("[a]\nengine = 'ssh://u:secret@x'", "a password does not belong"),
        ("[a]\nengine = 'ssh://u@x:notaport'", "engine 'ssh://u@x:notaport'"),
        ("[a]\nengine = 'local'\nthreads = [1, '2']", "threads must be a list of whole numbers"),
        ("[a]\nengine = 'local'\nthreads = [-1]", "threads is a list of counts"),
        ("[a]\nengine = 'local'\ngpus = 'many'", "gpus is a count"),
        ("[a]\nengine = 'local'\nmeter = 3", "meter must be"),
        ("[a]\nengine = 'local'\nset_clock = 'yes'", "set_clock is true or false"),
        ("[a]\nengine = 3", "engine must be a text"),
        ("['A b']\nengine = 'local'", "a device's name has"),
        ("a = 1", "'a' is neither a device's table"),
        ("registry = 1", "registry must be a text"),
        ("registry = 'http://bench:5000'", 'without a scheme: write "bench:5000"'),
        ("registry = 'bench 5000'", "registry is a host and its port"),
        ("registry = 'bench:500000'", "registry is a host and its port"),
        ("registry = 'bench'", 'an account of Docker Hub; write "bench:5000"'),
        ("registri = 'bench:5000'", "did you mean 'registry'"),
        ("[a]\nengine = 'local'\nbord = 'nano'", "did you mean 'board'"),
        (
            "[a]\nengine = 'local'\nboard = 'nanoo'",
            "unknown board 'nanoo'; known: generic, nano, potato, standin; did you mean 'nano'",
        ),
        ("[a]\nengine = 'local'\nmemory = '8 gigs'", 'memory is a size such as "8g"'),
        ("[a]\nengine = 'local'\nmemory = '1m'", "memory is 6m, Docker's least, or more"),
        (
            "[a]\nengine = 'local'\nimage = 'dime-jetsn'",
            "image 'dime-jetsn' is none of ours; did you mean 'dime-jetson'",
        ),
        ("[a]\nengine = 'local'\nimage = 'Dime Host'", "image is a name such as"),
        ("[a]\nengine = 'local'\nimage = ''", "image is a name such as"),
        (
            "[a]\nengine = 'local'\nplatform = 'linux/arm65'",
            "unknown platform 'linux/arm65'.*did you mean 'linux/arm64'",
        ),
        ("[a]\nengine = 'local'\nruntime = 'nvidea'", "unknown runtime 'nvidea'; did you mean 'nvidia'"),
        ("[a]\nengine = 'local'\nruntime = 'a b'", "runtime is a name"),
        ("[a]\nengine = 'local'\ngpus = '²'", "gpus is a count"),
        ("[a]\nengine = 'local'\ngpus = true", "gpus is a count"),
        ("[a]\nengine = 'local'\nthreads = [99999999]", "threads is a list of counts up to 4096"),
        ("[a]\nengine = 'local'\ntags = ['edge,server']", "a tag has letters"),
        ("[a]\nengine = 'local'\nmeter = 'smartpower'", "unknown meter 'smartpower'.*did you mean 'smartpower3'"),
        ("[a", "lab.toml: "),
    ],
)
def test_each_mistake_is_one_line_that_names_its_place(tmp_path, text, message):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=message) as caught:
        lab.load(path)
    assert str(path) in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "engine, parts",
    [
        ("ssh://dime@[fd15:4ba5:5a2b:1009::81c3]", ("dime", "fd15:4ba5:5a2b:1009::81c3", 0)),
        ("ssh://[fe80::1%eth0]:2222", ("", "fe80::1%eth0", 2222)),
        ("ssh://NanoTop", ("", "NanoTop", 0)),
        ("ssh://dime@10.0.0.2:22/", ("dime", "10.0.0.2", 22)),
    ],
)
def test_an_engines_address_is_kept_as_it_was_given(tmp_path, engine, parts):
    device = lab.load(written(tmp_path, f"[a]\nengine = '{engine}'")).devices["a"]
    assert (device.engine, device.address, device.host) == (engine, parts, parts[1])


@given(st.text(max_size=40) | st.from_regex(r"ssh://[a-z@:\[\]%/.0-9-]{0,30}", fullmatch=True))
def test_no_address_is_worse_than_a_refusal(text):
    try:
        lab._engine("here", text)
    except InputError as error:
        assert "\n" not in str(error)
    else:
        assert text == lab.LOCAL or text.startswith("unix:///") or not lab.Address.of(text).host.startswith("-")


@pytest.mark.parametrize(
    ("memory", "limit"),
    [("8g", 8 << 30), ("512M", 512 << 20), ("1.5 GiB", 3 << 29), ("8gb", 8 << 30), ("16777216", 1 << 24)],
)
def test_memory_is_read_as_docker_reads_it(tmp_path, memory, limit):
    from docker.utils import parse_bytes

    device = lab.load(written(tmp_path, f"[a]\nengine = 'local'\nmemory = '{memory}'")).devices["a"]
    assert parse_bytes(device.memory) == limit


@pytest.mark.parametrize(
    "registry", ["bench:5000", "bench.lan", "localhost", "10.0.0.1:5000/dime", "docker.io/me/", "[::1]:5000"]
)
def test_a_registrys_address_is_what_stands_before_a_name(tmp_path, registry):
    assert lab.load(written(tmp_path, f"registry = '{registry}'")).registry == registry.rstrip("/")


def test_what_is_not_built_here_is_nobodys_slip(tmp_path):
    keys = "engine = 'local'\nimage = 'bench:5000/me/tools:v1'\nruntime = 'lab'\ngpus = 0"
    device = lab.load(written(tmp_path, f"[a]\n{keys}")).devices["a"]
    assert (device.image, device.runtime, device.gpus) == ("bench:5000/me/tools:v1", "lab", "")


def test_meters_and_boards_of_other_packages_are_known(tmp_path, monkeypatch):
    about = tmp_path / "mine-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[dime.meters]\nwattsup = mine\n[dime.boards]\nrock = mine\n")
    text = '[rock]\nboard = "rock"\nengine = "ssh://dime@rock"\nmeter = "wattsup"\n'
    with pytest.raises(InputError, match="unknown board 'rock'"):
        lab.load(written(tmp_path, text))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InputError, match=r"the board 'rock' \(mine\) cannot be found"):
        lab.load(written(tmp_path, text))
    (tmp_path / "mine.py").write_text('HOST = {"set_clock": True}\n')
    importlib.invalidate_caches()
    device = lab.load(written(tmp_path, text)).devices["rock"]
    assert device.set_clock
    assert (device.board, device.meter) == ("rock", lab.Meter("wattsup", {}))


def test_every_board_of_the_device_side_is_known():
    import dime.device.boards as package
    from dime.contract import plugins

    assert plugins.names(package) == boards.names()


def test_what_the_host_must_know_of_a_board_stands_in_its_file_alone(tmp_path, monkeypatch):
    package = tmp_path / "dime/device/boards"
    package.mkdir(parents=True)
    monkeypatch.setattr(boards.dime, "__path__", [*boards.dime.__path__, str(tmp_path / "dime")])
    (package / "rock.py").write_text(
        'raise SystemExit("the host imports no board")\nHOST = {"image": "mine/rock", "runtime": "runc"}\n'
    )
    device = lab.load(written(tmp_path, '[rock1]\nboard = "rock"\nengine = "ssh://rock1"\n')).devices["rock1"]
    assert (device.image, device.platform, device.runtime, device.set_clock) == ("mine/rock", "", "runc", False)
    for said, told in (
        ('{"imag": "x"}', r"rock\.py: HOST: unknown key 'imag'; known: "),
        ('{"set_clock": 1}', r"rock\.py: HOST: set_clock is a bool, not 1"),
        ("[1]", r"rock\.py: HOST is a dict"),
        ("open('x')", r"rock\.py: HOST cannot be read as a literal"),
    ):
        (package / "rock.py").write_text(f"HOST = {said}\n")
        with pytest.raises(InputError, match=told):
            boards.facts("rock")


VALUES = st.recursive(
    st.text(max_size=12) | st.integers() | st.floats() | st.booleans(),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*(f.name for f in fields(lab.LabDevice) if f.name != "name"), "x"]), VALUES))
def test_no_value_of_a_device_is_worse_than_a_refusal(entry):
    from docker.utils import parse_bytes

    try:
        device = lab._device("here", "a", {"engine": "local", **entry})
    except InputError as error:
        assert str(error).startswith("here: ")
    else:
        assert not device.memory or parse_bytes(device.memory) >= 6 << 20
        assert device.board in boards.names() and (not device.platform or device.platform in lab.PLATFORMS)


@settings(deadline=None)
@given(st.text(max_size=200) | st.from_regex(r"(?:\[?[a-z]*\]?(?: = [\[\]{}\"'0-9a-z]*)?\n?){0,6}", fullmatch=True))
def test_no_file_is_worse_than_a_line(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("lab") / "lab.toml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with suppress(InputError):
        lab.load(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.toml: No such file"):
        lab.load(tmp_path / "nowhere.toml")
