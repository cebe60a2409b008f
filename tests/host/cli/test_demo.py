"""The demo: profiles by the ordinary path, what each link changes, the report's name, three things to type."""

import fcntl
import os
import re
import sys
from contextlib import contextmanager

import pytest

from dime.host.cli import demo
from tests.host.conftest import dime

QUICK = ["--runs=1", "--iterations=2", "--freqs=60%,100%", "--requests=5", "--results=shown"]
NET = "small-1x3x64x64"  # as its feature maps are called
SMALL = """
from torch import nn


def build():
    return nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.Flatten(), nn.Linear(8 * 225, 10))
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """What the demo prints of a small network on a device that is hardly held back, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "small.py").write_text(SMALL)
    dime("samples", "--net=small.py:build", "--input=1x3x64x64", folder=folder)
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
    assert (folder / "shown/plans/small-1x3x64x64/001/verified/001").is_dir()


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
