"""The demo: profiles by the ordinary path, what each link changes, the report's name, three things to type."""

import fcntl
import json
import os
import re
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from dime.host.cli import demo
from tests.host.conftest import dime

QUICK = ["--runs=1", "--iterations=2", "--freqs=60%,100%", "--requests=5", "--results=shown"]
NET = "small"  # as its feature maps are called
SMALL = """
from torch import nn

INPUT = (1, 3, 64, 64)


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.Flatten(), nn.Linear(8 * 225, 10))
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the demo prints of a small network on a device that is hardly held back, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "small.py").write_text(SMALL)
    dime("samples", "--net=small.py:build", f"--name={NET}", folder=folder)
    with alone(folder):
        return dime("demo", f"--net={NET}", *QUICK, "--open", folder=folder), folder


@contextmanager
def alone(folder):
    """A folder for temporary files of the demo's own, where no other test's plans are being run."""
    place = folder / "temporary"
    place.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(place))
        yield place


def test_it_says_what_stands_in_and_what_each_link_changes(shown):
    text = " ".join(shown[0].stdout.split())
    assert "this machine held to 60 or 100 % of a core; not a board" in text
    assert "standin: time emulated" in text and "energy modelled" in text
    changes = text.partition("what each link changes")[2]
    for name in demo.LINKS.split(","):
        assert re.search(rf"\b{name}: \S+ .*?(on|standin|server)", changes), name


def test_the_plan_of_one_link_is_run_and_held_against_its_prediction(shown):
    done, folder = shown
    for name in ("DIME", f"all on {demo.DEVICES[1]}"):
        assert re.search(rf"{name}.* predicted .* measured ", done.stdout), name
    assert "the link was emulated" in done.stdout
    assert (folder / f"shown/plans/{NET}/001/verified/001").is_dir()
    told = "encoded: input as uint8; first class the same in 6 of 6, result off by 0 of it; predicted on standin"
    assert told in " ".join(done.stdout.split())


def test_what_is_sent_is_no_straw_man(shown):
    """The input goes as the picture's levels, a quarter of the bytes, and another picture's bytes are told."""
    text = " ".join(shown[0].stdout.split())
    assert "sent: input as uint8, 4.0 times fewer bytes; first class the same in 6 of 6, result off by 0 of it" in text
    assert "sent: features as uint8" in text
    (folder,) = shown[1].glob("shown/plans/*/001/WiFi")
    planned = json.loads((folder / "problem.json").read_text())
    assert "uint8" in json.dumps(planned) and "jpeg90" in (shown[1] / "shown/standin/small/encodings.csv").read_text()


@pytest.mark.parametrize(
    ("measured", "sent"),
    [
        ([{(0, "uint8"), (0, "jpeg90"), (1, "uint8")}] * 2, "input:uint8,features:uint8"),
        ([{(1, "uint8")}] * 2, "features:uint8"),  # a network that takes no pictures
        ([{(0, "uint8"), (1, "uint8")}, {(1, "uint8")}], "features:uint8"),
        ([None, {(0, "uint8")}], ""),  # a profile of before
    ],
)
def test_only_what_all_have_measured_is_sent_encoded(measured, sent):
    assert demo.sent([SimpleNamespace(encodings=one and dict.fromkeys(one)) for one in measured]) == sent


def test_a_plan_on_both_devices_is_run_rather_than_another():
    def link(name, *devices):
        return SimpleNamespace(name=name, plan=SimpleNamespace(steps=[SimpleNamespace(device=one) for one in devices]))

    assert demo.to_run([link("3G", "a"), link("4G", "a", "b"), link("WiFi", "b")]) == "4G"
    assert demo.to_run([link("3G", "a"), link("4G", "a", "b"), link("WiFi", "a", "b")]) == "WiFi"
    assert demo.to_run([link("3G", "a"), link("4G", "a"), link("WiFi", "b")]) == "WiFi"
    assert demo.to_run([link("3G", "a"), link("4G", "b")]) == "3G" and demo.to_run([]) == ""


def test_it_names_its_report_and_ends_with_three_things_to_type(shown):
    done, folder = shown
    report = re.search(r"^report: (\S+)$", done.stdout, re.MULTILINE)[1]
    assert (folder / report).read_text().startswith("<!doctype html>")
    *_, opened = done.stdout.strip().splitlines()
    assert opened == "not opened: nobody is at this terminal"
    steps = done.stdout.partition("next:\n")[2].splitlines()[:3]
    assert [step.split()[0] for step in steps] == ["make", "make", "scripts/device.sh"]


def test_it_takes_its_profiles_again_and_names_its_report_also_where_nothing_can_be_run(shown):
    folder = shown[1]
    with alone(folder) as place, (place / f"dime-verify-{os.getuid()}.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = dime("demo", f"--net={NET}", *QUICK, folder=folder, check=False)
    assert done.returncode == 1 and "dime: another verify is running" in done.stderr
    assert "is complete already and was kept" in done.stderr
    assert f"report: shown/plans/{NET}/002/report.html" in done.stdout and "next:" in done.stdout


def test_a_page_is_opened_where_there_are_a_person_and_a_browser(tmp_path, monkeypatch):
    page = tmp_path / "report.html"
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda address: opened.append(address) or True)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform.startswith("linux"):
        assert demo.opened(page) == "not opened: there is no display here"
    monkeypatch.setenv("DISPLAY", ":0")
    assert demo.opened(page) == "opened"
    assert opened == [page.as_uri()]
    monkeypatch.setattr("webbrowser.open", lambda address: False)
    assert demo.opened(page) == "not opened: there is no browser here"
