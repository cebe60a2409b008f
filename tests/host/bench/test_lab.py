from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.bench import lab

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


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.toml: No such file"):
        lab.load(tmp_path / "nowhere.toml")
