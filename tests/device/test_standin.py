"""The stand-in: a share of one core, by rests and where it may be set by a quota; told as such everywhere."""

import os
import time

import pytest
import torch

from dime.contract import emulation
from dime.contract.errors import DeviceError, InputError
from dime.contract.run import RunSpec
from dime.device import boards, overheads, timings
from dime.device.boards import _quota, _sysfs, standin
from dime.testing import board_trees

pytestmark = pytest.mark.alone

QUIET = 1.1  # wall time over CPU time of unheld work, on a machine that has nothing else to do


def work(size):
    matrix = torch.ones(size, size)
    for _ in range(8):
        matrix = matrix @ matrix / size
    return matrix


@pytest.fixture
def one_thread():
    """The library's other threads wait awake for a while, which is no work of ours."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def timed(run, size):
    start_s, used_s = time.monotonic(), time.process_time()
    run(size)
    return time.monotonic() - start_s, time.process_time() - used_s


@pytest.mark.parametrize("share", [11, 24, 50])
def test_a_run_takes_its_cpu_time_over_the_share(one_thread, share):
    held = standin.slowed(work, share * emulation.HZ_A_PERCENT)
    pairs = [(timed(work, 300), timed(held, 300)) for _ in range(15)]
    achieved = sorted(cpu_s / wall_s * 100 for _, (wall_s, cpu_s) in pairs)
    # Waiting awake for the end of a rest is CPU time, too, but none of the work's.
    most = max((share * 0.01 * wall_s + 3 * standin.WAKING_S) / wall_s * 100 for _, (wall_s, _) in pairs)
    assert achieved[-1] <= most, "a run got more than its share"
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        pytest.skip("this machine is too busy: others take what the share leaves, and part of the share")
    assert achieved[-1] >= 0.85 * share, "runs rest longer than they must"
    ratios = sorted(slow[0] / free[0] for free, slow in pairs if free[0] < QUIET * free[1])
    if len(ratios) < 5:
        pytest.skip("this machine is too busy to compare: {} of 15 pairs undisturbed".format(len(ratios)))
    assert ratios[len(ratios) // 2] >= 0.8 * 100 / share, "a run that is held takes so much longer than one that is not"


def test_it_gives_what_the_work_gives_and_leaves_other_boards_alone():
    assert torch.equal(standin.slowed(work, 500000000)(20), work(20))
    assert standin.slowed(work, -1) is work
    assert boards.slowed(boards.choose("generic")[1], work, 5) is work


def test_a_quota_is_set_where_one_may_be_and_goes_with_the_run(tmp_path, monkeypatch):
    tree = str(board_trees.plain(tmp_path))
    monkeypatch.setattr(_sysfs, "_put", board_trees.Kernel().put)
    removed = []
    monkeypatch.setattr(_sysfs, "_remove", removed.append)
    group = "{}/sys/fs/cgroup/lab/{}".format(tree, _quota.NAME.format(os.getpid()))
    with standin.fixed(200000000, tree) as verify:
        assert (board_trees.get(group, "cpu.max"), board_trees.get(group, "cgroup.procs")) == (
            "2000 10000",
            str(os.getpid()),
        )
        assert verify() == [200000000]
        board_trees.put(group, "cpu.max", "max 10000")
        with pytest.raises(DeviceError, match="reads 'max 10000' after '2000 10000' was set"):
            verify()
    assert removed == [group]
    assert board_trees.get(tree, board_trees.GROUP + "/cgroup.procs") == str(os.getpid())
    with pytest.raises(DeviceError, match="stands for no share"), standin.fixed(123, tree):
        pass


@pytest.mark.parametrize(
    "path, text",
    [
        ("proc/self/cgroup", "3:cpu:/\n0::/../../etc\n"),
        ("proc/self/cgroup", "3:cpu:/\n"),
        ("proc/self/mountinfo", "30 24 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,cpu\n"),
        ("proc/self/mountinfo", "damaged\n\n"),
        (board_trees.CGROUPS + "/lab/cgroup.subtree_control", "memory\n"),
    ],
)
def test_without_a_cgroup_of_version_2_that_shares_out_cpu_time_there_is_no_quota(tmp_path, path, text):
    tree = str(board_trees.plain(tmp_path))
    assert _quota.groups(tree) is not None
    board_trees.put(tree, path, text)
    assert _quota.groups(tree) is None


def test_shares_are_typed_as_such():
    from dime.contract.run import parse_frequencies

    assert parse_frequencies("5%,240MHz") == [50000000, 240000000]
    for text in ("0%", "101%", "2.5%", "%", "-3%"):
        with pytest.raises(InputError, match="of a stand-in also shares, 20%"):
            parse_frequencies(text)


def test_the_words_name_the_shares():
    assert emulation.told([200000000]) == "this machine held to 20 % of a core; not a board"
    assert emulation.told(standin.frequencies_hz()).startswith("this machine held to 10, 15, 18 or 21 % of a core; not")
    assert emulation.told([-1]) == "this machine held to a share of a core; not a board"


def test_power_grows_faster_than_the_share():
    model = standin.power_model(standin.frequencies_hz())
    watts = list(model["watts"].values())
    assert watts == sorted(watts) and watts[-1] == 4.0 and model["idle_watts"] < watts[0]
    energies = [power / hertz for power, hertz in zip(watts, standin.frequencies_hz())]  # noqa: B905
    assert energies[0] > min(energies) < energies[-1], (
        "neither the slowest nor the fastest clock needs the least energy"
    )


def test_a_profile_says_that_it_is_emulated_and_what_power_is_taken(tiny, tmp_path):
    tiny.profile(tmp_path / "out", device="standin", processor="auto", runs=1)
    spec = RunSpec.read(str(tmp_path / "out"))
    assert (spec.board, spec.origin, spec.processor) == ("standin", "emulated", "cpu")
    assert spec.frequencies_hz == standin.frequencies_hz()
    assert spec.power_model == standin.power_model(spec.frequencies_hz)
    assert emulation.told(spec.frequencies_hz) in tiny.heard.texts("note")
    clocks = spec.sessions[0]["clocks"]
    assert [one["read_hz"] for one in clocks[::2]] == [[hz] for hz in spec.frequencies_hz]
    assert clocks[0]["clocks_hz"] == {standin.HELD: spec.frequencies_hz[0]}


def test_only_timed_runs_are_held(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(overheads.Overheads, "measure", lambda self, frequency_hz: None)
    held = []
    monkeypatch.setattr(standin, "slowed", lambda run, hz: lambda value: held.append(hz) or run(value))
    tiny.profile(tmp_path / "out", device="standin", frequencies_hz=[500000000], runs=2, warmups=3, iterations=1)
    foretold = 2 * 3  # by these runs of each layer it is said how long the profile will take
    behind_waits = timings.MOST_WAITS
    assert held == [500000000] * (2 * 6 + foretold + behind_waits)


def test_a_clock_that_is_left_alone_is_measured(tiny, tmp_path):
    tiny.profile(tmp_path / "out", device="standin", frequencies_hz=[-1])
    assert RunSpec.read(str(tmp_path / "out")).origin == "measured"
