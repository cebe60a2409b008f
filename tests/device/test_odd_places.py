"""Places that take no output, on every verb that writes: one clear line, and nothing is left behind."""

import os
import subprocess
import sys

import pytest

from dime.device.__main__ import run
from tests.device.conftest import ROOT, Heard, finish, start
from tests.device.power_logger import Logger

QUICK = ["--runs=1", "--iterations=1", "--warmups=0", "--max-layers=1", "--threads=1", "--weights=seeded 0"]
NETWORK = "--network=resnet18"


@pytest.fixture
def odd(tmp_path):
    """A folder with a file, a link to itself, a link to nowhere, and a pipe."""
    (tmp_path / "file").write_text("")
    os.symlink("loop", str(tmp_path / "loop"))
    os.symlink("/proc/nowhere/at/all", str(tmp_path / "dangling"))
    os.mkfifo(str(tmp_path / "pipe"))
    return tmp_path


PLACES = [
    "/proc/x",
    "/proc/x/y",
    "/sys/x",
    "/dev/null",
    "/dev/null/x",
    "{}/file",
    "{}/file/x",
    "{}/loop",
    "{}/dangling",
]
PLACES += ["{}/pipe", "{}/pipe/x", "{}/" + "n" * 300, "/" + "n/" * 3000, ""]


def one_line(*words):
    heard = Heard()
    assert run(list(words), heard) == 1
    (text,) = heard.texts("error")
    assert "\n" not in text and len(text) < 600
    return text


@pytest.mark.parametrize("place", PLACES)
def test_a_run_s_folder(place, odd, resnet18_samples):
    path = place.format(odd)
    for words in (["profile", NETWORK, "--samples=" + resnet18_samples] + QUICK, ["restore"]):
        assert one_line(*(words + ["--out=" + path])).startswith("cannot write ")


@pytest.mark.parametrize("place", PLACES)
def test_a_folder_of_feature_maps(place, odd):
    path = place.format(odd)
    assert one_line("samples", NETWORK, "--samples=" + path, "--weights=seeded 0").startswith("cannot write ")


@pytest.mark.parametrize("place", PLACES[:4])
def test_feature_maps_that_are_not_there(place, odd, tmp_path):
    path = place.format(odd)
    text = one_line("profile", NETWORK, "--samples=" + path, "--out={}".format(tmp_path / "out"), *QUICK)
    assert text.startswith("no feature maps of resnet18 in " + path)


def test_a_power_log_s_clocks_have_no_place(resnet18_samples):
    with Logger() as logger:
        words = ["profile", NETWORK, "--samples=" + resnet18_samples, "--out=/proc/x", "--log-server-addr=127.0.0.1"]
        words += ["--log-server-port={}".format(logger.port)]
        assert "/proc/x" in one_line(*(words + QUICK))


def test_messages_that_nothing_takes(resnet18_samples, tmp_path):
    words = ["profile", NETWORK, "--samples=" + resnet18_samples, "--out={}".format(tmp_path / "out")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "dime.device"] + words + QUICK,
            stdout=full,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            cwd=ROOT,
            check=False,
        )
    assert done.returncode == 143
    assert done.stderr.splitlines() == ["messages cannot be written: No space left on device"]


def test_a_home_that_takes_no_weights(tmp_path):
    process = start("samples", NETWORK, "--samples={}".format(tmp_path), "--weights=pretrained", HOME="/proc/x")
    code, heard = finish(process)
    assert code == 1 and [message["kind"] for message in heard].count("error") == 1
