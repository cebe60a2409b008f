"""A profile on a board over ssh, end to end, and everything that may get in its way."""

import os
import signal
import threading
import time

import pytest

from dime.contract import tables
from dime.contract.errors import ConnectionLostError, DeviceError
from dime.contract.run import TIMINGS, RunSpec
from dime.host.bench import cleanup, fleet
from dime.host.bench.connection import DetachedError, Wishes
from dime.host.bench.lock import HOLD
from dime.host.bench.session.session import Session

from .place import REGISTRY, wait_for

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]
CPU = "devices/system/cpu/cpu0/cpufreq"
GPU = "devices/57000000.gpu/devfreq/57000000.gpu"
LONG = ("--runs=1", "--iterations=3", "--max-layers=2", "--frequencies=-1")  # long enough to be disturbed
LONG_ROWS = 3 * 15


def rows(folder):
    return tables.read(str(folder / TIMINGS), tables.TIMINGS)


def leftovers(board):
    """What is ours on a board beyond its caches."""
    containers = board.docker("ps", "-aq", "--filter", "label=dime").stdout.split()
    volumes = board.docker("volume", "ls", "-q", "--filter", "label=dime").stdout.split()
    return containers + [name for name in volumes if not name.startswith("dime-samples-")]


def running(board):
    return board.docker("ps", "-q", "--filter", f"name=^{HOLD}$").stdout.strip()


def in_background(jobs):
    """Starts a profile in a thread; returns it and what it ends with."""
    ended = {}

    def work():
        try:
            ended["folders"] = fleet.profile(jobs, REGISTRY)
        except BaseException as error:
            ended["error"] = error

    thread = threading.Thread(target=work)
    thread.start()
    return thread, ended


def measured(board):
    """Whether the run on a board has finished some bundle."""
    text = board.docker("logs", HOLD, check=False).stdout
    return '"kind": "progress"' in text


def finish(thread, ended, seconds=300):
    thread.join(seconds)
    assert not thread.is_alive(), "the profile hangs"
    if "error" in ended:
        raise ended["error"]
    return ended["folders"]


def test_both_boards_at_once_with_two_frequencies(nano, potato, job):
    jobs = [
        job(nano, "--runs=1", "--iterations=1", "--max-layers=1", "--frequencies=76800000,921600000"),
        job(potato, "--runs=1", "--iterations=1", "--max-layers=1", "--frequencies=1000000000"),
    ]
    before = (
        nano.read(f"{GPU}/min_freq"),
        potato.read(f"{CPU}/scaling_max_freq"),
        potato.read(f"{CPU}/scaling_governor"),
    )
    folders = fleet.profile(jobs, REGISTRY)
    assert folders == [jobs[0].out, jobs[1].out]
    assert {row["frequency_hz"] for row in rows(folders[0])} == {76800000, 921600000}
    assert len(rows(folders[0])) == 16
    assert {row["frequency_hz"] for row in rows(folders[1])} == {1000000000}
    spec = RunSpec.read(str(folders[0]))
    assert (spec.state, spec.origin, spec.board) == ("complete", "measured", "nano")
    assert spec.sessions[0]["clocks"][0]["clocks_hz"][f"/sys/{GPU}/cur_freq"] == 76800000
    after = nano.read(f"{GPU}/min_freq"), potato.read(f"{CPU}/scaling_max_freq"), potato.read(f"{CPU}/scaling_governor")
    assert after == before
    assert leftovers(nano) == leftovers(potato) == []
    assert any(name.startswith("nvidia") and "profile" in words for name, words in nano.runtimes())
    assert not any(name.startswith("nvidia") for name, words in potato.runtimes())


def test_the_link_is_cut_for_thirty_seconds(nano, job):
    work = job(nano, *LONG)
    thread, ended = in_background([work])
    wait_for("a measured bundle", lambda: measured(nano), 120)
    nano.cut()
    time.sleep(30)
    nano.heal()
    finish(thread, ended)
    assert len(rows(work.out)) == LONG_ROWS
    assert len(RunSpec.read(str(work.out)).sessions) == 1
    assert leftovers(nano) == []


def test_the_engine_is_restarted(nano, job):
    work = job(nano, *LONG)
    thread, ended = in_background([work])
    wait_for("a measured bundle", lambda: measured(nano), 120)
    nano.stop_docker()
    nano.start_docker()
    finish(thread, ended)
    assert len(rows(work.out)) == LONG_ROWS
    assert len(RunSpec.read(str(work.out)).sessions) == 2
    assert leftovers(nano) == []


def test_the_run_is_killed_while_a_clock_is_fixed_and_nobody_watches(potato, job):
    work = job(potato, *LONG[:-1], "--frequencies=250000000")
    wishes = Wishes()
    run = Session(work, REGISTRY, wishes, print, lambda text: None)

    def follow():
        with pytest.raises(DetachedError):
            run()

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for("a measured bundle", lambda: measured(potato), 120)
    wishes.detach.set()
    thread.join(30)
    assert running(potato), "detaching has stopped the run"
    potato.docker("kill", HOLD)
    assert potato.read(f"{CPU}/scaling_max_freq") == "250000"
    finish(*in_background([work]))
    assert len(rows(work.out)) == LONG_ROWS
    assert potato.read(f"{CPU}/scaling_max_freq") == "1512000"
    assert leftovers(potato) == []


def test_the_board_loses_its_power(potato, job):
    work = job(potato, *LONG)
    thread, ended = in_background([work])
    wait_for("a measured bundle", lambda: measured(potato), 120)
    potato.reboot()
    finish(thread, ended)
    assert len(rows(work.out)) == LONG_ROWS
    assert leftovers(potato) == []


def test_a_second_person_is_told_who_holds_the_board(nano, job, monkeypatch):
    work = job(nano, *LONG)
    thread, ended = in_background([work])
    wait_for("a measured bundle", lambda: measured(nano), 120)
    with pytest.raises(DeviceError, match=r"nano: is held by .+@.+ since 20.*small on nano"):
        fleet.profile([job(nano)], REGISTRY)
    monkeypatch.setattr("socket.gethostname", lambda: "another-laptop")
    other, also = in_background([work])  # the same run, from another computer
    time.sleep(3)
    outcomes = []
    for one in ((thread, ended), (other, also)):
        try:
            outcomes.append(finish(*one))
        except DeviceError as error:  # whoever comes second finds it collected
            outcomes.append(str(error))
    assert [work.out] in outcomes
    assert [one for one in outcomes if one != [work.out] and "collected" not in one] == []
    assert len(rows(work.out)) == LONG_ROWS
    assert leftovers(nano) == []


def test_stopped_by_wish_it_goes_on_later_where_it_was(potato, job):
    work, wishes = job(potato, *LONG), Wishes()
    ended = []
    run = Session(work, REGISTRY, wishes, print, lambda text: None)

    def follow():
        try:
            run()
        except DeviceError as error:
            ended.append(str(error))

    thread = threading.Thread(target=follow)
    thread.start()
    wait_for("a measured bundle", lambda: measured(potato), 120)
    wishes.stop.set()
    thread.join(60)
    assert "stopped" in ended[0]
    assert "the same command goes on" in ended[0]
    assert not running(potato)
    finish(*in_background([work]))
    assert len(rows(work.out)) == LONG_ROWS
    assert RunSpec.read(str(work.out)).sessions[1]["rows"] > 0
    assert leftovers(potato) == []


def test_the_boards_disk_is_full(nano, job):
    cleanup.clean(job(nano).device, caches=True)
    nano.fill_disk(40)
    with pytest.raises(DeviceError, match=r"nano: .*(disk|room|space)") as caught:
        fleet.profile([job(nano)], REGISTRY)
    assert "\n" not in str(caught.value)
    nano.free_disk()
    assert leftovers(nano) == []
    assert len(rows(fleet.profile([job(nano)], REGISTRY)[0])) == 8


def test_this_computers_disk_is_full(nano, job, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    assert os.system(f"mount -t tmpfs -o size=4k tmpfs {small}") == 0
    try:
        work = job(nano)
        full = type(work)(**{**vars(work), "out": small / "results/nano/small"})
        with pytest.raises(
            DeviceError,
            match=r"disk has room for; they are still|No space left on device; the results",
        ):
            fleet.profile([full], REGISTRY)
        assert len(rows(fleet.profile([work], REGISTRY)[0])) == 8
        assert leftovers(nano) == []
    finally:
        os.system(f"umount {small}")


def test_a_board_that_is_off_says_so_soon(nano, job):
    work = job(nano)
    nano.cut()
    started = time.monotonic()
    with pytest.raises(ConnectionLostError, match=r"nano: 10\.78\.0\.2 does not answer .*switched on"):
        fleet.profile([work], REGISTRY)
    assert time.monotonic() - started < 15


def test_one_board_failing_does_not_stop_the_other(nano, potato, job):
    nano.cut()
    with pytest.raises(ConnectionLostError, match="nano"):
        fleet.profile([job(nano), good := job(potato)], REGISTRY)
    assert len(rows(good.out)) == 8


def test_an_unknown_host_key(nano, job, stranger):
    with pytest.raises(DeviceError, match=r"the host key of nano is not known; type: ssh root@nano"):
        fleet.profile([job(nano)], REGISTRY)


def test_a_changed_host_key(potato, job):
    work = job(potato)
    old = (potato.folder / "etc/ssh_host_ed25519_key").read_bytes()
    potato.new_host_key()
    new = (potato.folder / "etc/ssh_host_ed25519_key").read_bytes()
    assert old != new
    restart_sshd(potato)
    try:
        with pytest.raises(DeviceError, match=r"the host key of potato has changed.*ssh-keygen -R"):
            fleet.profile([work], REGISTRY)
    finally:
        potato.off()
        potato.up()


def restart_sshd(board):
    board.enter("sh", "-c", "kill $(cat /run/sshd.pid); /usr/sbin/sshd -f $0", board.folder / "etc/sshd_config")
    wait_for("sshd", lambda: board.enter("sh", "-c", "kill -0 $(cat /run/sshd.pid)", check=False).returncode == 0)


def test_a_runtime_that_the_engine_lacks(potato, job):
    with pytest.raises(DeviceError, match=r"potato: its engine has no runtime 'nvidia' \(it has .*lab"):
        fleet.profile([job(potato, potato_runtime="nvidia")], REGISTRY)
    assert leftovers(potato) == []


def test_an_image_of_the_wrong_architecture(potato, job):
    with pytest.raises(
        DeviceError, match=r"potato: the registry's .*dime-jetson.* is not for linux/amd64|is for linux/arm64"
    ):
        fleet.profile([job(potato, potato_platform="linux/amd64", potato_image="dime-jetson")], REGISTRY)
    assert leftovers(potato) == []


def test_an_image_that_is_nowhere(potato, job):
    with pytest.raises(DeviceError, match=r"potato: image nothing:latest .* is nowhere to be had .*none of ours"):
        fleet.profile([job(potato, potato_image="nothing")], REGISTRY)


def test_ctrl_c_where_nobody_can_be_asked_lets_the_run_go_on(nano, job):
    work = job(nano, *LONG)
    watcher = threading.Thread(
        target=lambda: (wait_for("a measured bundle", lambda: measured(nano), 120), os.kill(os.getpid(), signal.SIGINT))
    )
    watcher.start()
    with pytest.raises(KeyboardInterrupt):
        fleet.profile([work], REGISTRY)
    watcher.join()
    assert running(nano)
    wait_for("the run's end", lambda: not running(nano), 300)
    assert fleet.collect(work.device, work.out.parents[1]) == [work.out]
    assert len(rows(work.out)) == LONG_ROWS
    assert fleet.collect(work.device, work.out.parents[1]) == []
    assert leftovers(nano) == []


def test_clean_removes_all_that_is_ours_and_nothing_else(potato, job):
    potato.docker("volume", "create", "somebodys")
    device = job(potato, potato_image="dime-jetson").device
    fleet.profile([job(potato, potato_image="dime-jetson")], REGISTRY)
    assert any("dime-jetson" in line for line in cleanup.clean(device))
    assert potato.docker("volume", "ls", "-q").stdout.split() == ["somebodys"]
    potato.docker("volume", "rm", "somebodys")
