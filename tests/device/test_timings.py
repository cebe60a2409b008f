import contextlib
import errno
import json
import os
import time
from collections import Counter

import pytest
import torch

from dime.contract import tables
from dime.contract.errors import DeviceError, InputError, TableError
from dime.contract.run import IMAGE_VARIABLE, RUN, TIMINGS, RunSpec
from dime.contract.timebase import monotonic_ns
from dime.device import overheads, processor, stop, storage, timings


def rows_of(folder):
    return tables.read(os.path.join(str(folder), TIMINGS), tables.TIMINGS)


def test_one_row_a_run_of_every_bundle_in_every_pass(tiny, tmp_path):
    before_ns = monotonic_ns()
    summary = tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert summary.rows == summary.measured_rows == len(rows) == 6 * 2 * 3
    counts = Counter((row["bundle"], row["iteration"]) for row in rows)
    assert set(counts.values()) == {3}
    assert {bundle for bundle, _ in counts} == {"a", "a_b", "a_b_c", "b", "b_c", "c"}
    assert all(before_ns <= row["start_ns"] < row["end_ns"] <= monotonic_ns() for row in rows)
    assert [row["start_ns"] for row in rows] == sorted(row["start_ns"] for row in rows)
    assert all(abs(row["duration_s"] - (row["end_ns"] - row["start_ns"]) * 1e-9) < 1e-12 for row in rows)
    assert sum(row["duration_s"] for row in rows) < summary.inside_s


def test_shapes_and_sizes_are_those_of_the_tensors(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    columns = ("bundle", "input_shape", "output_shape", "input_bytes", "output_bytes")
    found = {tuple(row[column] for column in columns) for row in rows_of(tmp_path / "out")}
    assert ("a_b", "1x4", "1x5", 16, 20) in found
    assert ("c", "1x5", "1x2", 20, 8) in found
    assert len(found) == 6


def test_runs_cycle_over_the_images(tiny, tmp_path):
    tiny.profile(tmp_path / "out", runs=4)
    images = [row["image"] for row in rows_of(tmp_path / "out") if row["bundle"] == "a" and row["iteration"] == 0]
    assert images == ["left", "right", "left", "right"]


def order(folder, iteration):
    names = [row["bundle"] for row in rows_of(folder) if row["iteration"] == iteration]
    return [name for number, name in enumerate(names) if number == 0 or names[number - 1] != name]


def test_the_order_is_the_seeds_and_differs_between_passes(tiny, tmp_path):
    for folder, seed in (("one", 0), ("again", 0), ("other", 1)):
        tiny.profile(tmp_path / folder, seed=seed)
    assert order(tmp_path / "one", 0) == order(tmp_path / "again", 0)
    assert order(tmp_path / "one", 0) != order(tmp_path / "one", 1)
    assert order(tmp_path / "one", 0) != order(tmp_path / "other", 0)


def test_the_run_says_how_it_was_made(tiny, tmp_path):
    tiny.profile(tmp_path / "out", max_layers=2)
    spec = RunSpec.read(str(tmp_path / "out"))
    assert (spec.network, spec.layers, spec.device, spec.board) == ("tiny", ["a", "b", "c"], "here", "generic")
    assert (spec.processor, spec.threads, spec.max_layers, spec.frequencies_hz) == ("cpu", 1, 2, [-1])
    assert (spec.origin, spec.state, spec.weights, spec.samples) == ("measured", "complete", "seeded 0", "label")
    assert spec.layer_bytes == [4 * (4 * 6 + 6 + 4), 4 * (6 * 5 + 5 + 6), 4 * (5 * 2 + 2 + 5)]
    assert spec.versions["torch"] == str(torch.__version__)
    assert spec.description["memory_bytes"] > 0
    assert len(spec.sessions) == 1 and "image" not in spec.sessions[0]
    assert spec.sessions[0]["clocks"][0]["frequency_hz"] == -1
    assert {row["bundle"] for row in rows_of(tmp_path / "out")} == {"a", "a_b", "b", "b_c", "c"}


def test_a_session_in_a_container_has_its_image(tiny, tmp_path, monkeypatch):
    monkeypatch.setenv(IMAGE_VARIABLE, "dime-host@sha256:0123")
    tiny.profile(tmp_path / "run")
    assert RunSpec.read(str(tmp_path / "run")).sessions[0]["image"] == "dime-host@sha256:0123"


def test_progress_is_announced_and_reaches_its_end(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    assert tiny.heard[0] == ("hello", {"version": "0.1.0", "device": "here", "network": "tiny", "total": 12})
    assert [fields["done"] for kind, fields in tiny.heard if kind == "progress"] == list(range(1, 13))


def test_bursts_fill_their_window(tiny, tmp_path):
    tiny.profile(tmp_path / "out", min_window_s=0.01, iterations=1)
    rows = rows_of(tmp_path / "out")
    assert all(row["end_ns"] - row["start_ns"] >= 10 * 1000 * 1000 for row in rows)
    assert all(row["repeats"] > 1 for row in rows)
    for row in rows:
        assert row["duration_s"] * row["repeats"] == pytest.approx((row["end_ns"] - row["start_ns"]) * 1e-9)


def test_single_runs_and_copies_have_columns_of_their_own(tiny, tmp_path):
    tiny.profile(tmp_path / "one", iterations=1)
    assert all(row["single_s"] == row["duration_s"] for row in rows_of(tmp_path / "one"))
    tiny.profile(tmp_path / "out", min_window_s=0.01, iterations=1)
    rows = rows_of(tmp_path / "out")
    assert all(row["single_s"] > 0 for row in rows) and any(row["single_s"] != row["duration_s"] for row in rows)
    assert {(row["copy_in_s"], row["copy_out_s"]) for row in rows} == {(0.0, 0.0)}


def test_copies_are_timed_behind_a_bundles_windows(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(overheads.Overheads, "measure", lambda self, frequency_hz: None)
    monkeypatch.setattr(timings._Run, "announce", lambda self, *given: None)
    monkeypatch.setattr(timings, "MOST_WAITS", 0)
    done, burst = [], processor.Cpu.burst
    monkeypatch.setattr(processor.Cpu, "burst", lambda self, *given: done.append("burst") or burst(self, *given))
    monkeypatch.setattr(processor.Cpu, "copies_s", lambda self, *given: done.append("copy") or (2.0, len(done)))
    tiny.profile(tmp_path / "out", min_window_s=0.001, iterations=1, max_layers=1, runs=2, warmups=1)
    assert done == (["burst"] * 4 + ["copy"] * 3) * 3
    assert [(row["copy_in_s"], row["copy_out_s"]) for row in rows_of(tmp_path / "out")][:2] == [(2.0, 6.0), (2.0, 7.0)]


def test_some_bundles_of_each_pass_are_run_once_more_behind_a_wait_after_all_else(tiny, tmp_path, monkeypatch):
    """Each run that comes behind a wait is slow: one row a bundle and pass says so, and no other."""
    monkeypatch.setattr(overheads.Overheads, "measure", lambda self, frequency_hz: None)
    monkeypatch.setattr(timings._Run, "announce", lambda self, *given: None)
    monkeypatch.setattr(timings, "MOST_WAITS", 4)
    slept, burst, copies = [], processor.Cpu.burst, processor.Cpu.copies_s

    def cold(chosen, run, tensor, window_s=0.0):
        def slow(value):
            if slept and slept[-1] == timings.WAIT_S:
                sleep(0.02)
            slept.append("ran")
            return run(value)

        return burst(chosen, slow, tensor, window_s)

    sleep = time.sleep
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(processor.Cpu, "burst", cold)
    monkeypatch.setattr(processor.Cpu, "copies_s", lambda self, *given: slept.append("copy") or copies(self, *given))
    tiny.profile(tmp_path / "out", iterations=3, runs=2)
    assert {slept[at - 1] for at, what in enumerate(slept) if what == timings.WAIT_S} == {"copy"}
    rows = rows_of(tmp_path / "out")
    waited = [row for row in rows if row["waited_s"] is not None]
    assert len(waited) == 3 * 4 and all(row["run"] == 1 for row in waited)
    assert len({(row["iteration"], row["bundle"]) for row in waited}) == 12
    assert len({row["bundle"] for row in waited}) > 4, "each pass has others first"
    assert min(row["waited_s"] for row in waited) >= 0.02 > max(row["duration_s"] for row in rows)


def test_threads_are_set_during_the_run_and_then_as_before(tiny, tmp_path):
    before, seen = torch.get_num_threads(), []

    @contextlib.contextmanager
    def look(frequency_hz):
        seen.append((frequency_hz, torch.get_num_threads()))
        yield lambda rows, bundles: []

    tiny.profile(tmp_path / "out", threads=before + 1, around_frequency=look)
    assert seen == [(-1, before + 1)]
    assert torch.get_num_threads() == before


def test_a_complete_run_is_not_touched(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    before = [(tmp_path / "out" / name).read_bytes() for name in (RUN, TIMINGS)]
    with pytest.raises(TableError, match="holds this run already, complete; nothing was overwritten"):
        tiny.profile(tmp_path / "out")
    assert before == [(tmp_path / "out" / name).read_bytes() for name in (RUN, TIMINGS)]


def test_another_run_is_not_mixed_in(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    before = (tmp_path / "out" / TIMINGS).read_bytes()
    with pytest.raises(TableError, match=r"differ in runs \(3 there, 4 now\), seed \(0 there, 5 now\)"):
        tiny.profile(tmp_path / "out", runs=4, seed=5)
    assert (tmp_path / "out" / TIMINGS).read_bytes() == before


def test_a_table_of_unknown_origin_is_not_continued(tiny, tmp_path):
    tiny.profile(tmp_path / "out")
    (tmp_path / "out" / RUN).unlink()
    with pytest.raises(TableError, match="timings.csv without run.json; nothing was overwritten"):
        tiny.profile(tmp_path / "out")


class CutOffError(Exception):
    pass


def cut_after(tiny, out, bundles, **changes):
    """Measures so many bundles and is cut off."""

    class Emit(type(tiny.heard)):
        def __call__(self, kind, **fields):
            super(Emit, self).__call__(kind, **fields)
            if kind == "progress" and fields["done"] == bundles:
                raise CutOffError()

    tiny.heard = Emit()
    with pytest.raises(CutOffError):
        tiny.profile(out, **changes)
    tiny.heard = type(tiny.heard).__bases__[0]()


@pytest.mark.parametrize("bundles", [1, 6, 11])
@pytest.mark.parametrize("lost", [0, 1, 30, 150, 330])
def test_a_run_that_was_cut_off_goes_on_behind_the_last_finished_bundle(tiny, tmp_path, bundles, lost):
    cut_after(tiny, tmp_path / "out", bundles)
    path = tmp_path / "out" / TIMINGS
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - lost])
    kept = bundles if lost == 0 else max(0, bundles - 1 if lost < 150 else bundles - 2)
    before = rows_of(tmp_path / "out") if lost == 0 else None
    summary = tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == summary.rows == 36
    assert set(Counter((row["bundle"], row["iteration"]) for row in rows).values()) == {3}
    assert before is None or rows[: len(before)] == before
    assert summary.measured_rows >= 36 - 3 * bundles
    assert summary.measured_rows % 3 == 0
    assert lost > 30 or 36 - summary.measured_rows == 3 * kept
    assert any("resumed: {} rows".format(36 - summary.measured_rows) in text for text in tiny.heard.texts("note"))
    spec = RunSpec.read(str(tmp_path / "out"))
    assert [session["rows"] for session in spec.sessions] == [0, 36 - summary.measured_rows]
    assert spec.state == "complete"


def test_a_resumed_run_has_the_order_of_an_uncut_one(tiny, tmp_path):
    tiny.profile(tmp_path / "uncut")
    cut_after(tiny, tmp_path / "out", 5)
    tiny.profile(tmp_path / "out")
    assert [order(tmp_path / "out", n) for n in (0, 1)] == [order(tmp_path / "uncut", n) for n in (0, 1)]


def test_a_run_cut_off_before_its_first_row_starts_anew(tiny, tmp_path):
    cut_after(tiny, tmp_path / "out", 1)
    (tmp_path / "out" / TIMINGS).unlink()
    assert tiny.profile(tmp_path / "out").measured_rows == 36


def test_a_table_that_lacks_what_is_measured_since_goes_on_with_it(tiny, tmp_path):
    cut_after(tiny, tmp_path / "out", 4)
    path = tmp_path / "out" / TIMINGS
    before = rows_of(tmp_path / "out")
    path.write_text("".join(",".join(line.split(",")[:-4]) + "\n" for line in path.read_text().splitlines()))
    assert {row["single_s"] for row in rows_of(tmp_path / "out")} == {None}
    tiny.profile(tmp_path / "out")
    rows = rows_of(tmp_path / "out")
    assert len(rows) == 36 and [row["single_s"] is None for row in rows] == [True] * 12 + [False] * 24
    assert [row["duration_s"] for row in rows[:12]] == [row["duration_s"] for row in before[:12]]


def test_other_software_does_not_continue_a_run(tiny, tmp_path):
    cut_after(tiny, tmp_path / "out", 5)
    content = json.loads((tmp_path / "out" / RUN).read_text())
    content["versions"]["torch"] = "0.4"
    (tmp_path / "out" / RUN).write_text(json.dumps(content))
    with pytest.raises(TableError, match="differ in versions"):
        tiny.profile(tmp_path / "out")


def test_one_process_at_a_time(tiny, tmp_path):
    with storage.locked(str(tmp_path / "out")), pytest.raises(TableError, match="being written to by another process"):
        tiny.profile(tmp_path / "out")


def test_a_full_disk_is_one_line_and_the_run_can_go_on(tiny, tmp_path, monkeypatch):
    real = os.fsync
    calls = []

    def full(handle):
        calls.append(handle)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DeviceError, match="No space left on device; make room"):
        tiny.profile(tmp_path / "out")
    monkeypatch.undo()
    assert tiny.profile(tmp_path / "out").rows == 36


def test_a_signal_ends_the_run_between_two_runs(tiny, tmp_path, monkeypatch):
    def pull(kind, **fields):
        if kind == "progress" and fields["done"] == 2:
            stop._State.pending = True

    tiny.heard = pull
    with pytest.raises(stop.Stopped):
        tiny.profile(tmp_path / "out")
    assert len(rows_of(tmp_path / "out")) == 6
    assert RunSpec.read(str(tmp_path / "out")).state == "running"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"iterations": 0}, "iterations is 0; it must be at least 1"),
        ({"runs": 0}, "runs is 0"),
        ({"warmups": -1}, "warmups is -1"),
        ({"threads": -1}, "threads is -1"),
        ({"max_layers": 0}, "max_layers is 0"),
        ({"min_window_s": -0.1}, "min_window_s is -0.1"),
        ({"min_window_s": float("nan")}, "min_window_s is nan"),
        ({"processor": "tpu"}, "unknown processor 'tpu'; known: auto, cpu, cuda"),
        ({"frequencies_hz": [123]}, "generic: cannot fix 123 Hz; known: none here"),
        ({"frequencies_hz": "all"}, "generic: no clock can be fixed here"),
    ],
)
def test_an_option_without_use_is_refused_before_anything_happens(tiny, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        tiny.profile(tmp_path / "out", root=tmp_path, **changes)
    assert not (tmp_path / "out").exists()


def test_warm_ups_may_be_none(tiny, tmp_path):
    assert tiny.profile(tmp_path / "out", warmups=0, runs=1, iterations=1).rows == 6


def test_the_order_is_the_same_in_every_python():
    assert timings.shuffled(range(8), seed=0, iteration=1) == [0, 6, 7, 3, 4, 1, 5, 2]


def test_bundles_are_measured_again_until_nobody_asks_for_more(tiny, tmp_path):
    passes = []

    @contextlib.contextmanager
    def ask(frequency_hz):
        def after_pass(rows, bundles):
            passes.append(sorted(set(row["bundle"] for row in rows)))
            return {2: ["a", "b_c"], 3: ["a"]}.get(len(passes), [])

        yield after_pass

    tiny.profile(tmp_path / "out", around_frequency=ask)
    assert passes == [["a", "a_b", "a_b_c", "b", "b_c", "c"]] * 2 + [["a", "b_c"], ["a"]]
    rows = tables.read(str(tmp_path / "out" / TIMINGS), tables.TIMINGS)
    assert len(rows) == (2 * 6 + 3) * 3
    assert max(row["iteration"] for row in rows) == 3


def test_the_same_work_goes_on_before_and_after_windows(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(overheads.Overheads, "measure", lambda self, frequency_hz: None)
    monkeypatch.setattr(timings._Run, "announce", lambda self, *given: None)
    monkeypatch.setattr(timings, "MOST_WAITS", 0)
    asked = []
    burst = processor.Cpu.burst
    monkeypatch.setattr(processor.Cpu, "burst", lambda self, *given: asked.append(given[2]) or burst(self, *given))
    tiny.profile(tmp_path / "out", min_window_s=0.01, runs=2, warmups=1, iterations=1)
    assert asked == [0.001, 0.01, 0.01, 0.001] * 6
