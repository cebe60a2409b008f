"""Quota, affinity, priority and load: read from trees of files, and from a cgroup of this machine's own kernel."""

import errno
import os
import subprocess
import sys
import time

import pytest

from dime.contract import messages
from dime.contract.run import RunSpec
from dime.device import surroundings
from dime.testing.board_trees import put
from tests.device.conftest import ROOT

V2 = "30 1 0:28 {} /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup rw\n"
V1 = (
    "31 30 0:29 {0} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "32 30 0:30 {0} /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
)


def modern(root, group, limits, mounted="/"):
    put(root, "proc/self/mountinfo", V2.format(mounted))
    put(root, "proc/self/cgroup", "0::{}\n".format(group))
    for folder, text in limits.items():
        put(root, "sys/fs/cgroup/{}/cpu.max".format(folder), text + "\n")
        put(root, "sys/fs/cgroup/{}/cpu.stat".format(folder), "nr_throttled 3\nthrottled_usec 2500000\n")
    return surroundings.quota(str(root))


def older(root, group, limits, mounted="/"):
    put(root, "proc/self/mountinfo", V1.format(mounted))
    put(
        root,
        "proc/self/cgroup",
        "4:memory:/elsewhere\n3:cpuset:/\n2:cpu,cpuacct:{}\n1:name=systemd:/\n0::/\n".format(group),
    )
    for folder, text in limits.items():
        quota_us, period_us = text.split()
        place = "sys/fs/cgroup/cpu,cpuacct/{}/cpu.".format(folder)
        put(root, place + "cfs_quota_us", quota_us.replace("max", "-1") + "\n")
        put(root, place + "cfs_period_us", period_us + "\n")
        put(root, place + "stat", "nr_throttled 3\nthrottled_time 2500000000\n")
    return surroundings.quota(str(root))


@pytest.mark.parametrize("version", [modern, older])
@pytest.mark.parametrize(
    "group, limits, mounted, expected",
    [
        ("/", {".": "max 100000"}, "/", None),
        ("/", {".": "50000 100000"}, "/", 0.5),
        ("/a/b", {"a": "150000 100000", "a/b": "max 100000"}, "/", 1.5),
        ("/a/b", {"a": "150000 100000", "a/b": "20000 10000"}, "/", 1.5),
        ("/docker/1", {".": "100000 200000"}, "/docker/1", 0.5),
        ("/docker/1/c", {".": "max 100000", "c": "10000 100000"}, "/docker/1", 0.1),
        ("/hidden/from/here", {".": "25000 100000"}, "/", 0.25),
        ("/../../x", {".": "25000 100000"}, "/", 0.25),
    ],
)
def test_the_least_quota_of_all_cgroups_above_counts(version, group, limits, mounted, expected, tmp_path):
    assert version(tmp_path, group, limits, mounted) == (expected, 2.5)


@pytest.mark.parametrize("text", ["", "max", "x 100000", "5 0", "-5 100000", "1 2 3"])
def test_what_is_no_quota(text, tmp_path):
    assert modern(tmp_path, "/", {".": text})[0] is None


def test_a_tree_that_says_nothing_leaves_all_open(tmp_path):
    noted = surroundings.observe(str(tmp_path))
    assert [name for name in noted if noted[name] is not None] == ["time_s"]


def test_times_affinity_and_priority(tmp_path):
    own = "7 (a name) of) R" + " 0" * 10 + " 100 50 20 30 20 10 1 0 9\n"
    put(tmp_path, "proc/self/stat", own)
    put(tmp_path, "proc/self/status", "Name:\tx\nCpus_allowed:\td\nCpus_allowed_list:\t0,2-3\n")
    put(tmp_path, "proc/stat", "cpu  100 10 40 500 7 3 2 30 0 0\ncpu0 1 1\ncpu1 1 1\ncpu2 1 1\ncpu3 1 1\nintr 5\n")
    put(tmp_path, "proc/loadavg", "1.25 0.5 0.25 2/300 999\n")
    noted = surroundings.observe(str(tmp_path), moment_s=0.01)
    assert noted["own_s"] == pytest.approx(200 * surroundings.TICK_S)
    assert noted["busy_s"] == pytest.approx(155 * surroundings.TICK_S)
    assert noted["stolen_s"] == pytest.approx(30 * surroundings.TICK_S)
    found = [noted[name] for name in ("cpus", "affinity", "affinity_cpus", "nice", "load", "others_cpus")]
    assert found == [4, "0,2-3", 3, 10, 1.25, 0.0]


def test_other_work_is_seen_as_it_is():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert surroundings.observe("/", moment_s=0.5)["others_cpus"] > 0.3
    finally:
        busy.kill()
        busy.wait()


def test_a_run_s_session_has_its_surroundings_and_its_threads(tiny, tmp_path, monkeypatch):
    noted = [{"cpus": 2, "nice": 7, "time_s": 0.0}, {"cpus": 2, "nice": 7, "time_s": 9.0, "stolen_s": 0.0}]
    monkeypatch.setattr(surroundings, "observe", lambda root, moment_s=0.0: dict(noted[0 if moment_s else 1]))
    tiny.profile(tmp_path / "run", threads=0)
    spec = RunSpec.read(str(tmp_path / "run"))
    assert spec.sessions[0]["surroundings"] == {"start": noted[0], "end": noted[1]}
    assert tiny.heard.texts("warning") == ["measured at nice 7: what else ran went first"]
    assert spec.threads == 0 and spec.threads_used >= 1


def test_a_run_that_goes_on_with_other_threads_is_another_one(tiny, tmp_path):
    import torch

    from dime.contract.errors import TableError

    tiny.profile(tmp_path / "run", threads=0, iterations=1)
    spec = RunSpec.read(str(tmp_path / "run"))
    spec.state, spec.threads_used = "running", torch.get_num_threads() + 1
    spec.write(str(tmp_path / "run"))
    with pytest.raises(TableError, match="threads_used"):
        tiny.profile(tmp_path / "run", threads=0, iterations=1)
    spec.threads_used = None  # as older versions wrote it
    spec.write(str(tmp_path / "run"))
    tiny.profile(tmp_path / "run", threads=0, iterations=1)


def _remove(group):
    """Removes a cgroup once the last process has left it: half a CPU lets them end slowly."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return os.rmdir(group)
        except EnvironmentError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture
def group():
    """A cgroup of half a CPU, of whichever version this kernel has."""
    for folder, files in (
        ("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        ("/sys/fs/cgroup", {"cpu.max": "50000 100000"}),
    ):
        place = os.path.join(folder, "dime-test-{}".format(os.getpid()))
        try:
            os.mkdir(place)
        except EnvironmentError:
            continue
        try:
            for name, text in files.items():
                with open(os.path.join(place, name), "w") as stream:
                    stream.write(text)
            yield os.path.join(place, "cgroup.procs")
            return
        except EnvironmentError:
            continue
        finally:
            _remove(place)
    pytest.skip("no cgroup can be made here")


@pytest.mark.slow
def test_a_profile_under_a_quota_says_so(group, resnet18_samples, tmp_path):
    words = ["profile", "--network=resnet18", "--samples=" + resnet18_samples, "--out={}".format(tmp_path / "run")]
    words += ["--runs=2", "--iterations=1", "--warmups=0", "--max-layers=1", "--weights=seeded 0"]
    # Four more processes of its group want a CPU each, so that the quota is used up whatever else this machine does.
    code = "import os, sys; me = os.getpid(); open(sys.argv[1], 'w').write(str(me))\n"
    code += "for _ in range(4):\n    if not os.fork():\n        while os.getppid() == me: pass\n        os._exit(0)\n"
    code += "os.execv(sys.argv[2], sys.argv[2:])"
    done = subprocess.run(
        [sys.executable, "-c", code, group, sys.executable, "-m", "dime.device"] + words,
        stdout=subprocess.PIPE,
        universal_newlines=True,
        cwd=ROOT,
        check=True,
    )
    heard = [messages.decode(line) for line in done.stdout.splitlines()]
    told = [message["text"] for message in heard if message["kind"] == "warning"]
    assert any(text.startswith("measured under a quota of 0.5") for text in told), told
    start, end = (RunSpec.read(str(tmp_path / "run")).sessions[0]["surroundings"][when] for when in ("start", "end"))
    assert start["quota_cpus"] == end["quota_cpus"] == 0.5
    assert end["throttled_s"] >= start["throttled_s"] and end["throttled_s"] > 0  # others may leave it less than half
