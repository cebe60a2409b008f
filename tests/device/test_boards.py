import json
import os
import subprocess

import pytest

from dime.contract.errors import DeviceError, InputError, TableError
from dime.contract.run import RunSpec
from dime.device import boards, settling, storage
from dime.device.boards import _cpufreq, _sysfs, generic, nano, potato
from dime.testing import board_trees
from dime.testing.board_trees import CPUS, GPU, GPU_HZ, RAIL_GATE, Kernel, get, put, state


@pytest.fixture
def tree(tmp_path):
    return board_trees.plain(tmp_path / "tree")


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(_sysfs, "SETTLE_S", 0.05)
    monkeypatch.setattr(settling, "LOOK_S", 0.01)
    monkeypatch.setattr(settling, "BEFORE_S", 0.001)
    monkeypatch.setattr(settling, "CHANGES", 2)


def install(monkeypatch, **behaviour):
    kernel = Kernel(**behaviour)
    monkeypatch.setattr(_sysfs, "_put", kernel.put)
    return kernel


def limits(kernel):
    return [(name, int(text)) for name, text in kernel.writes if name.endswith("_freq")]


@pytest.mark.parametrize(
    "device, board",
    [
        ("nano", "nano"),
        ("nano2", "nano"),
        ("nano-left", "nano"),
        ("Nano_1", "nano"),
        ("potato", "potato"),
        ("nanopi", "generic"),
        ("wiscad", "generic"),
        ("local", "generic"),
        ("3", "generic"),
    ],
)
def test_a_device_is_the_board_it_is_named_after(device, board):
    assert boards.choose(device)[0] == board


def test_a_board_that_is_named_decides():
    assert boards.choose("wiscad", "potato")[1] is potato
    with pytest.raises(InputError, match="unknown board 'tx2'; known: .*generic.*nano.*potato"):
        boards.choose("nano", "tx2")


def test_the_boards_know_their_steps(tree):
    assert nano.frequencies_hz(str(tree)) == list(nano.STEPS_HZ) == GPU_HZ
    assert potato.frequencies_hz(str(tree)) == list(potato.STEPS_HZ)
    assert generic.frequencies_hz(str(tree)) == list(potato.STEPS_HZ)
    assert len(nano.STEPS_HZ) == 12 and nano.STEPS_HZ[-1] == 921600000
    assert len(potato.STEPS_HZ) == 7 and potato.STEPS_HZ[3] == 667000000


def test_steps_that_the_kernel_does_not_list_are_known_anyway(tree):
    os.remove(str(tree / GPU / "available_frequencies"))
    os.remove(str(tree / CPUS[0] / "scaling_available_frequencies"))
    assert nano.frequencies_hz(str(tree)) == list(nano.STEPS_HZ)
    assert potato.frequencies_hz(str(tree)) == list(potato.STEPS_HZ)
    assert generic.frequencies_hz(str(tree)) == []


def test_raising_moves_the_upper_limit_first_and_lowering_the_lower(tree, monkeypatch):
    for name in ("min_freq", "max_freq"):
        put(tree, GPU + "/" + name, "460800000\n")
    kernel = install(monkeypatch)
    with nano.fixed(921600000, str(tree)):
        assert limits(kernel) == [("max_freq", 921600000), ("min_freq", 921600000)]
        del kernel.writes[:]
    assert limits(kernel) == [("min_freq", 460800000), ("max_freq", 460800000)]
    del kernel.writes[:]
    with nano.fixed(76800000, str(tree)):
        assert limits(kernel) == [("min_freq", 76800000), ("max_freq", 76800000)]


@pytest.mark.parametrize("low", range(0, 12, 3))
@pytest.mark.parametrize("high", range(2, 12, 3))
def test_from_any_limits_to_any_step_and_back_the_kernel_never_refuses(tree, monkeypatch, low, high):
    put(tree, GPU + "/min_freq", "{}\n".format(GPU_HZ[min(low, high)]))
    put(tree, GPU + "/max_freq", "{}\n".format(GPU_HZ[max(low, high)]))
    before = state(tree)
    install(monkeypatch)
    for frequency_hz in GPU_HZ:
        with nano.fixed(frequency_hz, str(tree)):
            assert get(tree, GPU + "/min_freq") == get(tree, GPU + "/max_freq") == str(frequency_hz)
        assert state(tree) == before


def test_the_rail_stays_powered_meanwhile(tree, monkeypatch):
    install(monkeypatch)
    with nano.fixed(76800000, str(tree)):
        assert get(tree, RAIL_GATE) == "0"
    assert get(tree, RAIL_GATE) == "1"
    os.remove(str(tree / RAIL_GATE))
    with nano.fixed(76800000, str(tree)):
        assert not os.path.exists(str(tree / RAIL_GATE))


def test_the_cpus_governor_is_the_fastest_meanwhile(tree, monkeypatch):
    install(monkeypatch)
    with potato.fixed(667000000, str(tree)):
        assert get(tree, CPUS[2] + "/scaling_governor") == "performance"
        assert get(tree, CPUS[2] + "/scaling_cur_freq") == "667000"
    assert get(tree, CPUS[0] + "/scaling_governor") == "schedutil"
    put(tree, CPUS[0] + "/scaling_available_governors", "schedutil\n")
    with potato.fixed(667000000, str(tree)):
        assert get(tree, CPUS[0] + "/scaling_governor") == "schedutil"


def test_every_policy_of_a_machine_with_several_is_fixed(tree, monkeypatch):
    os.remove(str(tree / CPUS[3]))
    board_trees.clock(tree, CPUS[3], "scaling_", [500000, 1000000, 2000000], ["schedutil", "performance"])
    assert generic.frequencies_hz(str(tree)) == [500000000, 1000000000]
    before = state(tree)
    install(monkeypatch)
    with generic.fixed(500000000, str(tree)):
        assert get(tree, CPUS[0] + "/scaling_cur_freq") == get(tree, CPUS[3] + "/scaling_cur_freq") == "500000"
    assert state(tree) == before


FAILURES = [
    ({"caught_hz": 345600000}, "cur_freq reads 345600000 Hz after 691200000 Hz was set; the clock does not stick"),
    ({"ceiling": 614400000}, "max_freq|min_freq"),
    ({"refused": "57000000.gpu/max_freq"}, "cannot write .*max_freq: Read-only file system; .*--privileged"),
    ({"refused": "railgate_enable"}, "cannot write 0 to .*railgate_enable: Read-only"),
]


@pytest.mark.parametrize("behaviour, message", FAILURES)
def test_a_clock_that_cannot_be_fixed_fails_loudly(tree, monkeypatch, behaviour, message):
    put(tree, GPU + "/max_freq", "614400000\n")
    install(monkeypatch, **behaviour)
    with pytest.raises(DeviceError, match=message) as failure:
        with nano.fixed(691200000, str(tree)):
            raise AssertionError("nothing may be measured")
    assert "\n" not in str(failure.value)
    assert get(tree, GPU + "/min_freq") == "76800000"
    assert get(tree, GPU + "/max_freq") == "614400000"


def test_a_value_between_two_steps_is_noticed(tree, monkeypatch):
    install(monkeypatch)
    with pytest.raises(DeviceError, match="_freq reads 614400000 Hz after 650000000 Hz was set"):
        with nano.fixed(650000000, str(tree)):
            raise AssertionError("nothing may be measured")
    assert get(tree, GPU + "/max_freq") == "921600000"


@pytest.mark.parametrize("board, off", [(nano, -1000), (nano, 1000), (potato, -1), (potato, 1)])
def test_a_clock_that_reads_back_a_little_off_sticks_and_is_put_back(tree, monkeypatch, board, off):
    """A divider's 599999 kHz for 600000: within the tolerance, and what is put back is the step, not the one below."""
    install(monkeypatch, off=off)
    unit_hz = 1 if board is nano else 1000
    steps_hz = board.frequencies_hz(str(tree))
    with board.fixed(steps_hz[4], str(tree)) as verify:
        before = state(tree)  # as somebody left it who had fixed a step
        assert verify() and set(verify()) == {steps_hz[4] + off * unit_hz}
        clocks = [nano._clock(str(tree))] if board is nano else _cpufreq.clocks(str(tree))
        entries = [clock.saved() for clock in clocks]
        for step_hz in steps_hz:
            for entry in entries:
                assert _sysfs.Clock(*entry[1:4]).fix(step_hz) == step_hz + off * unit_hz
        _sysfs.put_back(entries)
        assert state(tree) == before


def test_a_clock_that_reads_back_farther_off_does_not_stick(tree, monkeypatch):
    install(monkeypatch, off=-2000)
    with pytest.raises(DeviceError, match=r"min_freq reads 665000000 Hz after 667000000 Hz was set"):
        with potato.fixed(667000000, str(tree)):
            raise AssertionError("nothing may be measured")


def test_a_clock_that_is_not_there_is_one_line(tmp_path):
    for board in (nano, potato, generic):
        with pytest.raises(DeviceError):
            with board.fixed(76800000, str(tmp_path)):
                raise AssertionError("nothing may be measured")


def test_two_processes_do_not_fix_one_clock(tree, monkeypatch):
    install(monkeypatch)
    before = state(tree)
    with storage.locked(str(tree / GPU)), pytest.raises(TableError, match="by another process"):
        with nano.fixed(76800000, str(tree)):
            raise AssertionError("nothing may be measured")
    assert state(tree) == before


def test_the_ledger_holds_what_was_changed_while_it_is(tree, tmp_path, monkeypatch):
    install(monkeypatch)
    before = state(tree)
    ledger = tmp_path / boards.LEDGER
    with nano.fixed(76800000, str(tree), str(ledger)):
        entries = json.loads(ledger.read_text())
    assert not ledger.exists()
    assert state(tree) == before
    # As if the process had been killed inside:
    with nano.fixed(153600000, str(tree)):
        changed = state(tree)
    for path, text in changed.items():
        put(tree, path, text + "\n")
    ledger.write_text(json.dumps(entries))
    assert boards.settle(str(tmp_path)) is True
    assert state(tree) == before
    assert boards.settle(str(tmp_path)) is False


@pytest.mark.parametrize(
    "text",
    [
        "[[",
        "[" * 100000,
        "{}",
        "1e300",
        "[[]]",
        "[1e300]",
        '[["text", "a"]]',
        '[["other", "a", "b"]]',
        '[["text", 5, "b"]]',
    ]
    + [
        '[["clock", "a", "", %s, 5, 5]]' % number
        for number in ("1e300", "NaN", "-0.0", "0", "5e-324", "9" * 30, "true")
    ],
)
def test_a_damaged_ledger_is_named_and_kept(tmp_path, text):
    (tmp_path / boards.LEDGER).write_text(text)
    with pytest.raises(DeviceError, match="damaged .*; set the clocks by hand and remove it"):
        boards.settle(str(tmp_path))
    assert (tmp_path / boards.LEDGER).exists()


def test_what_can_be_put_back_is_put_back_even_if_something_cannot(tree, tmp_path, monkeypatch):
    kernel = install(monkeypatch)
    ledger = tmp_path / boards.LEDGER
    with pytest.raises(DeviceError, match="railgate_enable"):
        with nano.fixed(76800000, str(tree), str(ledger)):
            kernel.refused = "railgate_enable"
    assert get(tree, GPU + "/max_freq") == "921600000"
    assert ledger.exists()
    kernel.refused = None
    assert boards.settle(str(tmp_path))
    assert get(tree, RAIL_GATE) == "1"


def test_a_board_says_what_it_is(tree):
    put(tree, "sys/class/thermal/cooling_device1/cur_state", "2\n")
    put(tree, "var/lib/nvpmodel/status", "pmode:0001\n")
    put(tree, "sys/kernel/debug/clk/override.emc/clk_rate", "1600000000\n")
    facts = nano.describe(str(tree))
    assert facts["model"] == "A board"
    assert facts["memory_bytes"] == 4059712 * 1024
    assert facts["cpus_online"] == "0-3"
    assert facts["temperatures_c"] == {"CPU-therm": 41.5, "GPU-therm": 39.0, "CPU-therm thermal_zone2": -1.0}
    assert facts["throttled"] == ["gpu-balanced"]
    assert (facts["governor"], facts["gpu_governor"], facts["rail_gate"]) == ("schedutil", "nvhost_podgov", "1")
    assert (facts["power_mode"], facts["emc_hz"]) == ("pmode:0001", 1600000000)
    assert sorted(facts["clocks_hz"].values()) == [921600000, 1512000000]


def test_fans_do_not_throttle(tree):
    put(tree, "sys/class/thermal/cooling_device0/cur_state", "3\n")
    assert nano.describe(str(tree))["throttled"] == []


def test_a_zone_that_cannot_be_read_is_left_out(tree):
    put(tree, "sys/class/thermal/thermal_zone0/temp", "")
    assert potato.describe(str(tree))["temperatures_c"] == {"GPU-therm": 39.0, "CPU-therm": -1.0}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_a_read_only_sysfs_has_no_frequencies(tree):
    if subprocess.call(["mount", "--bind", str(tree), str(tree)]) != 0:
        pytest.skip("may not mount")
    try:
        subprocess.check_call(["mount", "-o", "remount,bind,ro", str(tree)])
        assert [board.frequencies_hz(str(tree)) for board in (nano, potato, generic)] == [[], [], []]
        with pytest.raises(DeviceError, match="cannot write .*Read-only file system"):
            with potato.fixed(667000000, str(tree)):
                raise AssertionError("nothing may be measured")
    finally:
        subprocess.check_call(["umount", str(tree)])


# The boards inside a profile.


def test_a_profile_goes_through_all_frequencies_and_says_what_it_found(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch)
    before = state(tree)
    seen = []

    class Around(object):
        def __init__(self, frequency_hz):
            self.frequency_hz = frequency_hz

        def __enter__(self):
            seen.append((self.frequency_hz, int(get(tree, GPU + "/cur_freq"))))
            return lambda rows, bundles: []

        def __exit__(self, *exception):
            seen.append("end")

    summary = tiny.profile(tmp_path / "out", device="nano", root=tree, iterations=1, around_frequency=Around)
    assert summary.rows == 12 * 6 * 3
    assert seen == [step for f in GPU_HZ for step in ((f, f), "end")]
    assert state(tree) == before
    spec = RunSpec.read(str(tmp_path / "out"))
    assert spec.frequencies_hz == GPU_HZ
    clocks = [(clock["frequency_hz"], clock["when"]) for clock in spec.sessions[0]["clocks"]]
    assert clocks == [(frequency_hz, when) for frequency_hz in GPU_HZ for when in ("start", "end")]
    assert spec.temperatures_c["CPU-therm"] == 41.5
    changes = [(change["frequency_hz"], change["from_hz"]) for change in spec.sessions[0]["changes"]]
    assert changes == [(f, GPU_HZ[-1] if f < GPU_HZ[6] else GPU_HZ[0]) for f in GPU_HZ for _ in range(2)]
    assert all(0 < change["read_back_s"] <= change["steady_s"] < 1 for change in spec.sessions[0]["changes"])
    assert tiny.heard.texts("warning") == ["the GPU's clock is fixed, but the network runs on the CPU"]


def test_chosen_frequencies_come_in_the_order_asked_for(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch)
    asked = [667000000, 250000000]
    tiny.profile(tmp_path / "out", device="potato", root=tree, frequencies_hz=asked)
    assert RunSpec.read(str(tmp_path / "out")).frequencies_hz == asked
    with pytest.raises(InputError, match="potato: cannot fix 1 Hz; known: 100000000, 250000000"):
        tiny.profile(tmp_path / "other", device="potato", root=tree, frequencies_hz=[1])
    with pytest.raises(InputError, match="a frequency twice"):
        tiny.profile(tmp_path / "other", device="potato", root=tree, frequencies_hz=asked + asked)


def test_what_a_clock_read_back_is_recorded(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch, off=-1)
    tiny.profile(tmp_path / "out", device="potato", root=tree, frequencies_hz=[666999000, 250000000])
    spec = RunSpec.read(str(tmp_path / "out"))
    assert spec.frequencies_hz == [667000000, 250000000], "what was read back elsewhere names the step"
    read = [(clock["frequency_hz"], clock["when"], clock["read_hz"]) for clock in spec.sessions[0]["clocks"]]
    expected = [(hz, when, [hz - 1000]) for hz in (667000000, 250000000) for when in ("start", "end")]
    assert read == expected


def test_a_generic_board_leaves_its_clock_alone_unless_told(tiny, tmp_path, tree, monkeypatch):
    kernel = install(monkeypatch)
    tiny.profile(tmp_path / "out", root=tree)
    assert kernel.writes == []
    tiny.profile(tmp_path / "all", root=tree, frequencies_hz="all", iterations=1, runs=1)
    assert RunSpec.read(str(tmp_path / "all")).frequencies_hz == list(potato.STEPS_HZ)


def test_a_board_without_its_clock_warns_and_leaves_it_alone(tiny, tmp_path):
    tiny.profile(tmp_path / "out", device="nano", root=tmp_path)
    assert tiny.heard.texts("warning") == ["nano: no clock can be fixed here, so it is left alone"]
    assert RunSpec.read(str(tmp_path / "out")).frequencies_hz == [-1]


def test_a_failure_inside_restores_the_clock(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch)
    before = state(tree)

    def fail(kind, **fields):
        if kind == "progress":
            raise RuntimeError("out of memory")

    tiny.heard = fail
    with pytest.raises(RuntimeError):
        tiny.profile(tmp_path / "out", device="nano", root=tree)
    assert state(tree) == before
    assert not (tmp_path / "out" / boards.LEDGER).exists()


def test_nothing_is_recorded_once_the_clock_has_moved(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch)
    before = state(tree)

    def cap(kind, **fields):
        if kind == "progress" and fields["done"] == 4:
            put(tree, GPU + "/max_freq", "76800000\n")

    listen, tiny.heard = tiny.heard, cap
    with pytest.raises(DeviceError, match="max_freq reads 76800000 Hz after 921600000 Hz was set"):
        tiny.profile(tmp_path / "out", device="nano", root=tree, frequencies_hz=[921600000])
    assert state(tree) == before
    tiny.heard = listen
    assert tiny.profile(tmp_path / "out", device="nano", root=tree, frequencies_hz=[921600000]).measured_rows == 8 * 3


def test_throttling_is_said_and_recorded(tiny, tmp_path, tree):
    put(tree, "sys/class/thermal/cooling_device1/cur_state", "1\n")
    tiny.profile(tmp_path / "out", root=tree)
    assert tiny.heard.texts("warning") == ["the board is throttling: gpu-balanced"] * 2
    assert RunSpec.read(str(tmp_path / "out")).sessions[0]["clocks"][0]["throttled"] == ["gpu-balanced"]


def test_a_resumed_run_skips_frequencies_that_are_finished(tiny, tmp_path, tree, monkeypatch):
    install(monkeypatch)
    listen = tiny.heard

    def fail(kind, **fields):
        if kind == "progress" and fields["done"] == 15:
            raise RuntimeError("cut off")

    options = dict(device="potato", root=tree, frequencies_hz=[250000000, 667000000])
    tiny.heard = fail
    with pytest.raises(RuntimeError):
        tiny.profile(tmp_path / "out", **options)
    tiny.heard = listen
    kernel = install(monkeypatch)
    monkeypatch.setattr(settling, "CHANGES", 0)
    tiny.profile(tmp_path / "out", **options)
    assert ("scaling_max_freq", "250000") not in kernel.writes
    assert ("scaling_max_freq", "667000") in kernel.writes
