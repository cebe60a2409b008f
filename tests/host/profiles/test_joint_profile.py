"""The join on files: what it writes, what it refuses, what it counts."""

import json
import math

import numpy as np
import pytest
from pyarrow import csv, parquet

from dime.contract import tables
from dime.contract.bundles import enumerate_bundles, spell
from dime.contract.errors import InputError, TableError
from dime.host.metering.meters import smartpower3
from dime.host.profiles import joint_profile, joint_summary
from dime.host.profiles.joint_profile import join
from dime.host.profiles.profiles import load_profile
from tests.host import powered
from tests.host.conftest import dime
from tests.lab import meter as stand_in

START_NS = 1_700_000_000_000_000_000
PERIOD_MS = 5
POWERS_W = (3.0, 4.5, 6.0)


def power_w(device_s, windows):
    for start_s, end_s, watts in windows:
        if start_s <= device_s < end_s:
            return watts
    return 1.5


def make(folder, window_s=0.12, iterations=3, power=True, clock=True, boot_id="here", log_from_s=0.0, log_until_s=None):
    """A run and its log: device second 0 is START_NS on the logger's clock; all is known exactly."""
    folder.mkdir(exist_ok=True)
    rows, windows, now_s = [], [], 2.0
    for iteration in range(iterations):
        for bundle in enumerate_bundles(3):
            watts, repeats = POWERS_W[bundle.last] * (1 + 0.002 * iteration), 4
            windows.append((now_s - 0.02, now_s + window_s + 0.02, watts))
            rows.append(
                {
                    "bundle": spell(bundle, powered.LAYERS), "first_layer": powered.LAYERS[bundle.first],
                    "last_layer": powered.LAYERS[bundle.last], "frequency_hz": 921600000, "iteration": iteration,
                    "run": 0, "image": "cat", "repeats": repeats, "duration_s": window_s / repeats,
                    "start_ns": round(now_s * 1e9), "end_ns": round((now_s + window_s) * 1e9),
                    "input_bytes": 10 + bundle.first, "output_bytes": 11 + bundle.last,
                    "input_shape": "1x2", "output_shape": "1x2",
                }
            )  # fmt: skip
            now_s += window_s + 0.06
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    sessions = [{"rows": 0, "start_ns": 1_000_000_000, "boot_id": boot_id}]
    powered.spec(iterations, 1, window_s, sessions).write(str(folder))
    if power:
        write_log(folder / "power.csv", windows, log_from_s, log_until_s or now_s + 1.0)
    if clock:
        write_clock(folder, now_s)
    return folder, rows


def write_log(path, windows, from_s, until_s):
    windows = sorted(windows)
    with path.open("w") as stream:
        stream.write(",".join([*smartpower3.COLUMNS, "timestamp"]) + "\n")
        for ms in range(int(from_s * 1e3), int(until_s * 1e3), PERIOD_MS):
            # The line is written half a period after the middle of what it stands for.
            watts = power_w(ms * 1e-3 - 0.0025 + 0.0005, windows)
            text = stand_in.line(100_000 + ms, (int(watts / 5.011 * 1e3), 0), bug=False)[:-2].decode()
            stream.write(f"{text},{START_NS + ms * 1_000_000}\n")


def write_clock(folder, until_s, name="power.csv"):
    times = [round(at * 1e9) for at in (0.5, until_s)]
    bursts = [[[at, START_NS + at + 200_000, START_NS + at + 210_000, at + 410_000]] for at in times]
    log = {"frequency_hz": 921600000, "file": name, "idle_ns": [[500_000_000, 1_500_000_000]], "codes": []}
    session = {"start_ns": 900_000_000, "boot_id": "here", "bursts": bursts, "logs": [log]}
    (folder / "clock.json").write_text(json.dumps({"sessions": [session]}))


def test_seconds_and_joules_of_every_row(tmp_path):
    folder, rows = make(tmp_path / "run")
    result = join(folder)
    table = parquet.read_table(result.path).to_pylist()
    assert len(table) == result.rows == len(rows) == 18 and not result.notes
    for row, entry in zip(rows, table, strict=True):
        watts = POWERS_W[powered.LAYERS.index(row["last_layer"])] * (1 + 0.002 * row["iteration"])
        assert entry["energy_j"] == pytest.approx(watts * row["duration_s"], rel=0.004)
        assert entry["layers"] == row["bundle"] and entry["iter"] == entry["iteration"] == row["iteration"]
        assert entry["frequency"] == entry["frequency_hz"] == 921600000 and entry["repeats"] == 4
        assert (entry["input_bytes"], entry["output_bytes"]) == (row["input_bytes"], row["output_bytes"])
        assert entry["samples"] in (24, 25) and entry["origin"] == "measured" and entry["device"] == "nano"
    summary = csv.read_csv(folder / "joint_summary.csv").to_pydict()
    assert summary["n"] == [3] * 6 and summary["iterations"] == [3] * 6
    assert all(
        low < mean < high
        for low, mean, high in zip(
            summary["energy_low_j"], summary["energy_mean_j"], summary["energy_high_j"], strict=True
        )
    )
    assert summary["idle_w"] == pytest.approx([1.5] * 6, rel=0.005), "reported beside, not subtracted"
    assert summary["idle_j"][0] == pytest.approx(1.5 * 0.03, rel=0.005)
    profile = load_profile(folder)
    assert profile.run_energy_j is not None and len(profile.run_energy_j) == 18 and profile.origin == "measured"


def test_joined_again_it_is_the_same_and_another_result_is_not_overwritten(tmp_path):
    folder, _ = make(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (join(folder), join(folder)) for path in folder.iterdir()}
    assert before == {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "joint_summary.csv").write_text("mine")
    with pytest.raises(TableError, match=r"joint_summary\.csv holds another result; nothing was overwritten"):
        join(folder)
    assert (folder / "joint_summary.csv").read_text() == "mine"


def without_what_came_later(folder):
    """The results as an earlier version wrote them."""
    table = parquet.read_table(folder / "joint_profile.parquet")
    later = ["session", "single_s", "copy_in_s", "copy_out_s", "idle_w", "idle_w_sd", "frequency_change_s"]
    parquet.write_table(table.drop_columns(later), folder / "joint_profile.parquet")
    return table


def test_an_earlier_versions_result_of_the_same_measurements_gives_way_and_another_does_not(tmp_path):
    folder, _ = make(tmp_path / "run")
    join(folder)
    table = without_what_came_later(folder)
    assert load_profile(folder).run_session is None
    join(folder)
    assert parquet.read_table(folder / "joint_profile.parquet").equals(table)
    without_what_came_later(folder)
    earlier = parquet.read_table(folder / "joint_profile.parquet")
    parquet.write_table(earlier.slice(1), folder / "joint_profile.parquet")
    with pytest.raises(TableError, match="holds another result"):
        join(folder)


def test_each_column_says_what_it_is(tmp_path):
    folder, _ = make(tmp_path / "run")
    schema = parquet.read_schema(join(folder).path)
    assert all(schema.field(name).metadata[b"meaning"] for name in schema.names)
    assert b"typical run" in schema.field("duration_s").metadata[b"meaning"]
    assert b"plain mean" in schema.field("energy_j").metadata[b"meaning"]


def test_sessions_single_runs_and_copies_go_through(tmp_path):
    folder, rows = make(tmp_path / "run")
    for at, row in enumerate(rows):
        row.update(single_s=0.01 + at * 1e-3, copy_in_s=1e-4, copy_out_s=None)
    (folder / "timings.csv").unlink()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    sessions = [{"rows": at, "start_ns": 1_000_000_000 + at, "boot_id": "here"} for at in (0, 6)]
    powered.spec(3, 1, 0.12, sessions).write(str(folder))
    table = parquet.read_table(join(folder).path)
    assert table["session"].to_pylist() == [0] * 6 + [1] * 12
    assert table["single_s"].to_pylist() == [row["single_s"] for row in rows]
    assert table["copy_out_s"].null_count == 18
    profile = load_profile(folder)
    summary, whole = csv.read_csv(folder / "joint_summary.csv"), profile.summary()
    for name, end in (("duration_low_s", "duration_s_low"), ("duration_high_s", "duration_s_high")):
        ours = dict(zip(summary["layers"].to_pylist(), summary[name].to_pylist(), strict=True))
        theirs = dict(zip(whole["bundle"], whole[end], strict=True))
        assert ours == pytest.approx(theirs), "a session counts once in both"
    assert profile.run_session.tolist() == [0, 1, 1] * 6 and profile.run_repeats.tolist() == [4] * 18
    assert sorted(profile.run_single_s) == [row["single_s"] for row in rows]
    assert profile.copy_in_s[:-1] == pytest.approx(1e-4) and profile.copy_out_s is None


def rested(folder, after_w, noise_w=0.0, rests=2):
    """A run with rests of 10 s: of 1.5 W before its first pass and of another power after the last."""
    _, rows = make(folder, power=False, clock=False)
    windows = [
        (row["start_ns"] * 1e-9 + 8.0, row["end_ns"] * 1e-9 + 8.0, POWERS_W[powered.LAYERS.index(row["last_layer"])])
        for row in rows
    ]
    over_s = windows[-1][1] + 0.5
    windows += [(over_s + at, over_s + at + 1, after_w + noise_w * (-1) ** at) for at in range(11)]
    if noise_w:
        windows += [(at, at + 1, 1.5 - noise_w * (-1) ** at) for at in range(10)]
    for row in rows:
        row.update(start_ns=row["start_ns"] + 8 * 10**9, end_ns=row["end_ns"] + 8 * 10**9)
    (folder / "timings.csv").unlink()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    write_log(folder / "power.csv", windows, -1.0, over_s + 12)
    write_clock(folder, over_s + 11)
    said = json.loads((folder / "clock.json").read_text())
    idle_ns = [[0, 10**10], [round((over_s + 0.3) * 1e9), round((over_s + 10.3) * 1e9)]]
    said["sessions"][0]["logs"][0]["idle_ns"] = idle_ns[:rests]
    (folder / "clock.json").write_text(json.dumps(said))
    return folder


def test_power_at_rest_is_told_for_each_frequency_with_its_uncertainty(tmp_path):
    folder = rested(tmp_path / "run", 1.7)
    result = join(folder)
    table = parquet.read_table(result.path)
    profile = load_profile(folder)
    assert set(table["idle_w"].to_pylist()) == set(profile.idle_w) and len(profile.idle_w) == 1
    assert profile.idle_w == pytest.approx((1.6,), rel=0.003)
    assert profile.idle_w_sd == pytest.approx((0.1,), rel=0.05), "half of what the two rests differ by"
    assert result.summary["idle_w_sd"].tolist() == list(profile.idle_w_sd) * 6


def test_what_one_rest_does_not_show_its_parts_do(tmp_path):
    quiet, noisy = rested(tmp_path / "quiet", 1.5, rests=1), rested(tmp_path / "noisy", 1.5, 0.1, rests=1)
    errors = [load_profile(join(folder).path.parent).idle_w_sd[0] for folder in (quiet, noisy)]
    assert errors[0] < 0.003
    assert errors[1] == pytest.approx(0.1 / math.sqrt(9), rel=0.1)


def test_what_a_change_of_frequency_takes_goes_through(tmp_path):
    folder, _ = make(tmp_path / "run")
    change = {"frequency_hz": 921600000, "from_hz": 76800000, "start_ns": 1, "read_back_s": 0.01, "steady_s": 0.02}
    sessions = [{"rows": 0, "start_ns": 1_000_000_000, "boot_id": "here", "changes": [change]}]
    sessions += [{"rows": 9, "start_ns": 1_000_000_001, "boot_id": "here"}]
    sessions += [{**sessions[0], "rows": 12, "changes": [{**change, "read_back_s": 0.03}]}]
    powered.spec(3, 1, 0.12, sessions).write(str(folder))
    assert load_profile(folder).frequency_change_s == pytest.approx((0.025,)), "without a meter, too"
    table = parquet.read_table(join(folder).path)
    assert table["frequency_change_s"].to_pylist() == pytest.approx([0.025] * 18)
    assert load_profile(folder).frequency_change_s == pytest.approx((0.025,))
    powered.spec(3, 1, 0.12, [{**sessions[0], "changes": [{**change, "steady_s": -1}]}]).write(str(folder))
    with pytest.raises(TableError, match="a session's changes of frequency are not times"):
        load_profile(folder)


def test_power_at_rest_that_differs_within_a_frequency_is_damage(tmp_path):
    folder, _ = make(tmp_path / "run")
    table = parquet.read_table(join(folder).path)
    for values, words in ((np.arange(18.0), "idle_w differs between rows"), (-np.ones(18), "is no number >= 0")):
        at = table.column_names.index("idle_w")
        parquet.write_table(table.set_column(at, "idle_w", [values]), folder / "joint_profile.parquet")
        with pytest.raises(TableError, match=words):
            load_profile(folder)


def test_windows_shorter_than_the_meters_period_are_never_used(tmp_path):
    folder, _ = make(tmp_path / "run", window_s=0.004)
    with pytest.raises(TableError, match=r"no row can be given an energy: 18 shorter than the meter's period; the log"):
        join(folder)
    assert not (folder / "joint_profile.parquet").exists()


def test_a_log_that_ends_before_the_run_does(tmp_path):
    folder, _ = make(tmp_path / "run", log_until_s=4.0)
    result = join(folder)
    lost = result.quality["rejected"]["after the log ended"]
    assert result.rows + lost == 18 and f"{lost} of 18 rows rejected: after the log ended" in result.notes
    other, _ = make(tmp_path / "other", log_until_s=2.5)
    assert any(note.startswith("no energy at all for 3 bundles: conv2 at 921600000 Hz") for note in join(other).notes)


def test_a_log_of_another_time(tmp_path):
    folder, _ = make(tmp_path / "run", log_from_s=100.0, log_until_s=110.0)
    with pytest.raises(TableError, match=r"18 before the log began; the log covers .* check that log and run belong"):
        join(folder)


def test_a_folder_without_a_log(tmp_path):
    folder, _ = make(tmp_path / "run", power=False)
    with pytest.raises(TableError, match=r"holds no power log: power\.csv; name it: --power"):
        join(folder)
    with pytest.raises(TableError, match=r"nowhere\.csv: No such file"):
        join(folder, tmp_path / "nowhere.csv")


def test_logs_are_found_beside_the_run_in_its_folder_power_or_by_name(tmp_path):
    folder, _ = make(tmp_path / "run")
    first = join(folder).summary["energy_mean_j"]
    for place in (folder / "power", tmp_path / "elsewhere"):
        place.mkdir()
        for name in ("joint_profile.parquet", "joint_summary.csv", "joint_quality.json"):
            (folder / name).unlink()
        source = next(path for path in (folder / "power.csv", folder / "power" / "power.csv") if path.exists())
        source.rename(place / "power.csv")
        found = join(folder, None if place.parent == folder else place).summary["energy_mean_j"]
        assert (found == first).all()


def test_one_of_several_logs_is_missing(tmp_path):
    folder, _ = make(tmp_path / "run")
    content = json.loads((folder / "clock.json").read_text())
    content["sessions"][0]["logs"].append({"frequency_hz": 1, "file": "gone.csv", "idle_ns": [], "codes": []})
    (folder / "clock.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match=r"lacks the power logs gone\.csv"):
        join(folder)


def test_no_clock_at_all(tmp_path):
    folder, _ = make(tmp_path / "run", clock=False)
    with pytest.raises(TableError, match=r"no clock relates the run's times .* missing: exchanges, a load pattern"):
        join(folder)
    with pytest.raises(TableError, match="missing: pattern"):
        join(folder, clock="pattern")
    with pytest.raises(InputError, match="unknown clock 'sundial'; known: exchanges, pattern, same machine"):
        join(folder, clock="sundial")


def test_a_device_that_is_the_loggers_own_machine_needs_no_exchange(tmp_path):
    folder, _ = make(tmp_path / "run", clock=False)
    quality = {"meter": "smartpower3", "host_clock": {"boot_id": "here", "unix_minus_monotonic_ns": START_NS}}
    (folder / "power_quality.json").write_text(json.dumps(quality))
    result = join(folder)
    assert result.quality["clocks"][0]["source"] == "same machine" and result.rows == 18


def test_a_run_that_was_cut_off_by_a_reboot_has_two_clocks(tmp_path):
    folder, rows = make(tmp_path / "run")
    spec = json.loads((folder / "run.json").read_text())
    # The second half ran after a reboot: its clock began anew, 3 s earlier.
    half, shift_ns = 9, 3_000_000_000
    spec["sessions"] = [
        {"rows": 0, "start_ns": 1_000_000_000, "boot_id": "here"},
        {"rows": half, "start_ns": 500_000_000, "boot_id": "there"},
    ]
    (folder / "run.json").write_text(json.dumps(spec))
    for row in rows[half:]:
        row["start_ns"] -= shift_ns
        row["end_ns"] -= shift_ns
    (folder / "timings.csv").unlink()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    content = json.loads((folder / "clock.json").read_text())
    first = content["sessions"][0]
    bursts = [[[t1 - shift_ns, t2, t3, t4 - shift_ns] for t1, t2, t3, t4 in burst] for burst in first["bursts"]]
    content["sessions"].append({"start_ns": 400_000_000, "boot_id": "there", "bursts": bursts, "logs": []})
    (folder / "clock.json").write_text(json.dumps(content))
    result = join(folder)
    assert len(result.quality["clocks"]) == 2 and result.rows == 18
    table = parquet.read_table(result.path).to_pylist()
    assert table[-1]["energy_j"] == pytest.approx(6.0 * 1.004 * 0.03, rel=0.004)
    del content["sessions"][1]
    (folder / "clock.json").write_text(json.dumps(content))
    with pytest.raises(TableError, match="knows nothing of the session that began with row 9"):
        join(folder)


def test_a_replayed_log_makes_a_replayed_profile(tmp_path):
    folder, _ = make(tmp_path / "run")
    (folder / "power_quality.json").write_text(json.dumps({"meter": "smartpower3", "origin": "replayed"}))
    assert set(parquet.read_table(join(folder).path)["origin"].to_pylist()) == {"replayed"}


def test_a_window_that_ends_before_it_begins(tmp_path):
    folder, rows = make(tmp_path / "run")
    rows[4]["start_ns"], rows[4]["end_ns"] = rows[4]["end_ns"], rows[4]["start_ns"]
    (folder / "timings.csv").unlink()
    with tables.Writer(str(folder / "timings.csv"), tables.TIMINGS) as writer:
        writer.write(rows)
    with pytest.raises(TableError, match=r"timings\.csv line 6: a window that ends before it begins"):
        join(folder)


def test_the_command_says_what_a_person_should_know(tmp_path):
    folder, _ = make(tmp_path / "run", log_until_s=4.0)
    result = dime("join", f"--run={folder}", "--energy-error=0.001%", folder=tmp_path)
    assert "joint_profile.parquet: " in result.stdout and "rows with energies" in result.stdout
    assert "rows rejected: after the log ended" in result.stderr
    assert "conv1 at 921600000 Hz: ±" in result.stderr
    for word, said in (
        ("--clock=sundial", "dime: unknown clock 'sundial'; known: exchanges, pattern, same machine"),
        ("--energy-error=much", "dime: 'much' is no share such as 3% or 0.03"),
        ("--channel=7", "unknown channel '7'; known: 0, 1, input"),
        (f"--power={tmp_path / 'gone.csv'}", "gone.csv: No such file or directory"),
    ):
        result = dime("join", f"--run={folder}", word, folder=tmp_path, check=False)
        assert result.returncode == 1 and said in result.stderr and result.stderr.count("\n") == 1


def summary_of(values, systematic=0.0):
    """One bundle, an iteration for each value."""
    count = len(values)
    groups = joint_summary.Groups.of(np.zeros(count, int), np.arange(count))
    zero, ones = np.zeros(count), np.ones(count)
    energies = joint_profile.integrate.Energies(
        energy_j=np.array(values), edge_j=zero, sampling_j=zero, resolution_j=ones * systematic, early_j=zero,
        late_j=zero, alias_j=zero, phase=zero, samples=np.full(count, 20), rejected=np.full(count, ""),
    )  # fmt: skip
    names = [{"layers": "conv1", "frequency_hz": -1}]
    return joint_summary.summarise(names, groups, ones * 0.1, np.ones(count, int), energies, (np.array([np.nan]),) * 2)


def test_a_summary_is_students_interval():
    values = [1.0, 1.1, 0.9, 1.05, 0.95]
    summary = summary_of(values)
    half = 2.776445105 * np.std(values, ddof=1) / math.sqrt(5)
    assert summary["energy_high_j"][0] - 1.0 == pytest.approx(half) == 1.0 - summary["energy_low_j"][0]


def test_what_repetition_does_not_reduce_stays():
    summary = summary_of([1.0, 1.0, 1.0], 0.1)
    assert summary["energy_high_j"][0] - 1.0 == pytest.approx(1.96 * 0.1, rel=1e-3)


@pytest.mark.parametrize(
    ("values", "systematic", "target", "words"),
    [
        ([1.0, 1.001, 0.999], 0.0, 0.03, None),
        ([1.0, 1.1, 0.9], 0.0, 0.03, "conv1 at -1 Hz: ±24.8%: needs more repetitions than 3"),
        ([1.0, 1.001, 0.999], 0.05, 0.03, "conv1 at -1 Hz: ±9.8%: resolution alone forbids it (±9.8% however often"),
        ([1.0], 0.0, 0.03, "conv1 at -1 Hz: unknown: measured once only"),
    ],
)
def test_a_target_that_is_missed_says_why(values, systematic, target, words):
    lines = joint_summary.short_of(summary_of(values, systematic), target)
    assert not lines if words is None else lines[0].startswith(words)


def test_rows_of_one_iteration_are_no_independent_evidence():
    """Twenty rows in each of two iterations that differ: the interval must not be that of forty."""
    random = np.random.default_rng(3)
    iteration = np.repeat([0, 1], 20)
    values = np.where(iteration == 0, 1.0, 1.2) + 0.001 * random.standard_normal(40)
    groups = joint_summary.Groups.of(np.zeros(40, int), iteration)
    mean, error, dof = groups.mean_and_error(values)
    assert mean[0] == pytest.approx(1.1, abs=0.001) and error[0] == pytest.approx(0.1, rel=0.02) and dof[0] == 1
