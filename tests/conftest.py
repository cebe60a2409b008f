"""Tests see the same environment whether make started them or not; the old Python is made when one asks for it."""

import os
import signal
import subprocess

import pytest

try:
    from hypothesis import settings
except ImportError:  # on Python 3.6
    pass
else:
    settings.register_profile("suite", deadline=None)  # what shares a machine with other tests takes what it takes
    settings.load_profile("suite")

LONG = ("tests/plugins/test_every_solver.py", "tests/host/test_docs.py")  # half a minute each, and far down
# `make test` passes its own level, flags and NAME=value on to every make below it, also to those that tests start
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES"):
    os.environ.pop(name, None)
# nohup, and a script that puts the suite into the background, have signals ignored, which every command below inherits
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_modifyitems(items):
    """What takes long begins first, so that processes that share the tests end together."""
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, not item.nodeid.startswith(LONG)))


@pytest.fixture(scope="session")
def python36():
    """An interpreter of Python 3.6 with the oldest torch; where there is no such Python the test is skipped."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    words = [os.path.join(root, "scripts", "setup-py36.sh")]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode == 3 and os.environ.get("CI") != "true":
        pytest.skip(done.stdout.decode().strip())
    assert done.returncode == 0, done.stdout.decode()
    return os.path.join(root, ".venv-py36", "bin", "python")


@pytest.fixture(scope="session")
def asked(pytestconfig):
    """Of a benchmark that takes minutes, of which the ordinary suite has a small one: it runs when it is asked for."""
    if pytestconfig.getoption("markexpr") != "benchmark":
        pytest.skip("takes minutes, or hours; the ordinary suite has a small one: -m benchmark")


@pytest.fixture(scope="session")
def figures_file():
    """Where all figures of a run go, empty: what a run says is its own."""
    folder = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "build")
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, "benchmarks.txt")
    with open(path, "w"):
        pass
    return path


@pytest.fixture
def figures(figures_file, capsys):
    """Tells a line of figures: on the terminal, and in the file of all of a run."""

    def tell(line):
        with capsys.disabled():
            print("\n" + line, flush=True)
        with open(figures_file, "a") as stream:
            stream.write(line + "\n")

    return tell
