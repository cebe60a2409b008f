"""Profiles: every format they are read from, what damage to any of them says, and their statistics."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from dime.contract import run, schemas, tables
from dime.contract.bundles import Bundle, spell
from dime.contract.errors import InputError, TableError
from dime.host.common import stats
from dime.host.profiles.layer_order import infer_layers
from dime.host.profiles.profiles import RawRuns, from_runs, load_profile
from dime.testing import synthetic

RUNS = 6
ALEXNET = synthetic.profile(synthetic.ALEXNET, runs=RUNS, frequencies_hz=(100, 200))
VIT = synthetic.profile(synthetic.VIT, runs=2, frequencies_hz=(100, 200))


def rows(profile):
    """The runs of a profile as rows of timings.csv."""
    layers = list(profile.layers)
    made = []
    for cell in range(len(profile.starts) - 1):
        bundle = profile.bundles[cell // len(profile.frequencies_hz)]
        for at in range(profile.starts[cell], profile.starts[cell + 1]):
            made.append(
                {
                    "bundle": spell(bundle, layers),
                    "first_layer": layers[bundle.first],
                    "last_layer": layers[bundle.last],
                    "frequency_hz": profile.frequencies_hz[cell % len(profile.frequencies_hz)],
                    "iteration": 0,
                    "run": int(at - profile.starts[cell]),
                    "image": "fish",
                    "repeats": 1,
                    "duration_s": float(profile.run_duration_s[at]),
                    "start_ns": int(at) * 10,
                    "end_ns": int(at) * 10 + 5,
                    "input_bytes": profile.sizes_bytes[bundle.first],
                    "output_bytes": profile.sizes_bytes[bundle.last + 1],
                    "input_shape": "1x3",
                    "output_shape": "1x4",
                }
            )
    return made


def joined(profile, **changes):
    """The columns of a joined or published table."""
    made = rows(profile)
    columns = {
        "layers": [row["bundle"] for row in made],
        "frequency": [row["frequency_hz"] for row in made],
        "iter": [row["iteration"] for row in made],
        "run": [row["run"] for row in made],
        "durs": profile.run_duration_s,
        "run_energy": profile.run_energy_j * 1e6,
    }
    return {name: column for name, column in {**columns, **changes}.items() if column is not None}


@pytest.fixture
def folder(tmp_path):
    """A run's folder with run.json and timings.csv."""
    spec = dict.fromkeys(run.SPEC_FIELDS)
    spec.update(network="alexnet", layers=list(ALEXNET.layers), device="nano", max_layers=8, weights="seeded 1")
    run.RunSpec(origin="measured", layer_bytes=list(range(8)), **spec).write(str(tmp_path))
    with tables.Writer(str(tmp_path / run.TIMINGS), tables.TIMINGS) as writer:
        writer.write(rows(ALEXNET))
    return tmp_path


def same(one, other):
    return np.allclose(one.means.duration_s, other.means.duration_s, rtol=1e-12) and (
        one.means.energy_j is other.means.energy_j or np.allclose(one.means.energy_j, other.means.energy_j, rtol=1e-12)
    )


class TestARunsFolder:
    def test_timings(self, folder):
        profile = load_profile(folder)
        assert (profile.device, profile.network, profile.origin, profile.weights) == (
            "nano",
            "alexnet",
            "measured",
            "seeded 1",
        )
        assert profile.layers == ALEXNET.layers and profile.layer_bytes == tuple(range(8))
        assert profile.sizes_bytes == synthetic.ALEXNET.sizes_bytes
        assert profile.run_energy_j is None
        assert np.array_equal(profile.run_duration_s, ALEXNET.run_duration_s)

    def test_single_runs_and_copies_are_read_where_they_were_measured(self, folder):
        before = load_profile(folder)
        assert (before.run_single_s, before.copy_in_s, before.copy_out_s) == (None, None, None)
        made = rows(ALEXNET)
        for at, row in enumerate(made):
            row.update(single_s=row["duration_s"] * 2, copy_in_s=0.0, repeats=at % 3 + 1)
            row["copy_out_s"] = row["output_bytes"] * 1e-9 if at % 2 else None
        (folder / run.TIMINGS).unlink()
        with tables.Writer(str(folder / run.TIMINGS), tables.TIMINGS) as writer:
            writer.write(made)
        profile = load_profile(folder)
        assert np.array_equal(profile.run_single_s, 2 * profile.run_duration_s)
        assert sorted(profile.run_repeats) == sorted(row["repeats"] for row in made)
        assert profile.copy_in_s.shape == (9, len(profile.frequencies_hz))
        assert (profile.copy_in_s[:-1] == 0).all() and np.isnan(profile.copy_in_s[-1]).all()
        assert np.isnan(profile.copy_out_s[0]).all()
        sizes = np.array(profile.sizes_bytes[1:])[:, None] * 1e-9
        assert profile.copy_out_s[1:] == pytest.approx(np.broadcast_to(sizes, profile.copy_out_s[1:].shape))

    def test_a_row_without_its_single_run_makes_no_sample(self, folder):
        made = [dict(row, single_s=row["duration_s"]) for row in rows(ALEXNET)]
        made[5]["single_s"] = None
        (folder / run.TIMINGS).unlink()
        with tables.Writer(str(folder / run.TIMINGS), tables.TIMINGS) as writer:
            writer.write(made)
        assert load_profile(folder).run_single_s is None

    def test_a_table_in_it_is_the_folder(self, folder):
        assert load_profile(folder / run.TIMINGS, device="other").device == "other"

    def test_what_it_shared_the_machine_with_is_told(self, folder):
        spec = run.RunSpec.read(folder)
        spec.sessions = [{"surroundings": {"start": {"quota_cpus": 0.5, "cpus": 4}, "end": {}}}]
        spec.write(folder)
        assert "measured under a quota of 0.5 of 4 CPUs (cgroup)" in load_profile(folder).warnings[-1]
        spec.sessions = [{"rows": 0}]  # as older versions wrote it
        spec.write(folder)
        assert not any("quota" in text for text in load_profile(folder).warnings)

    def test_joined_power_is_preferred(self, folder):
        columns = joined(ALEXNET, durs=None, duration_s=ALEXNET.run_duration_s, energy_j=ALEXNET.run_energy_j)
        sizes = {name: [row[name] for row in rows(ALEXNET)] for name in ("input_bytes", "output_bytes")}
        parquet.write_table(pa.table({**columns, **sizes}), folder / run.JOINT_PROFILE)
        profile = load_profile(folder)
        assert same(profile, ALEXNET) and profile.sizes_bytes == synthetic.ALEXNET.sizes_bytes
        assert load_profile(folder / run.TIMINGS).run_energy_j is None

    def test_rows_in_any_order(self, folder):
        lines = (folder / run.TIMINGS).read_text().splitlines()
        (folder / run.TIMINGS).write_text("\n".join([lines[0], *reversed(lines[1:])]) + "\n")
        assert same(load_profile(folder), load_profile(folder))
        assert np.allclose(load_profile(folder).means.duration_s, ALEXNET.means.duration_s, rtol=1e-12)

    def test_missing_files(self, folder, tmp_path):
        (folder / run.TIMINGS).unlink()
        with pytest.raises(TableError, match=r"no timings\.csv; profile again"):
            load_profile(folder)
        (folder / run.RUN).unlink()
        with pytest.raises(TableError, match=r"run\.json: No such file"):
            load_profile(folder)
        with pytest.raises(TableError, match="no such file or folder"):
            load_profile(tmp_path / "nothing")


class TestDamage:
    """The line names the file and, in a text table, the line and the column."""

    def change(self, folder, edit):
        path = folder / run.TIMINGS
        path.write_text(edit(path.read_text()))
        with pytest.raises(TableError) as raised:
            load_profile(folder)
        assert str(path) in str(raised.value) and "\n" not in str(raised.value)
        return str(raised.value)

    def test_empty(self, folder):
        assert "is empty" in self.change(folder, lambda text: "")

    def test_only_a_header(self, folder):
        assert "no rows" in self.change(folder, lambda text: text.splitlines()[0] + "\n")

    def test_truncated(self, folder):
        assert "truncated" in self.change(folder, lambda text: text[:-20])

    def test_a_missing_column(self, folder):
        assert "lacks the columns duration_s" in self.change(folder, lambda text: text.replace("duration_s", "time"))

    @pytest.mark.parametrize("value", ["nan", "inf", "-0.1", "0", "", "x"])
    def test_a_bad_duration(self, folder, value):
        def edit(text):
            lines = text.splitlines()
            cells = lines[5].split(",")
            cells[8] = value
            return "\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n"

        message = self.change(folder, edit)
        assert "line 6" in message and "duration_s" in message

    @pytest.mark.parametrize(("column", "value"), [(3, "0"), (4, "-1"), (3, "1.5"), (11, "0"), (13, "3 by 4"), (6, "")])
    def test_other_rules(self, folder, column, value):
        def edit(text):
            lines = text.splitlines()
            cells = lines[5].split(",")
            cells[column] = value
            return "\n".join([*lines[:5], ",".join(cells), *lines[6:]]) + "\n"

        message = self.change(folder, edit)
        assert "line 6" in message and tables.TIMINGS[column].name in message

    def test_too_few_values(self, folder):
        assert "line 3" in self.change(
            folder,
            lambda text: (
                "\n".join(line if at != 2 else "conv1,conv1" for at, line in enumerate(text.splitlines())) + "\n"
            ),
        )

    def test_a_layer_that_the_network_does_not_have(self, folder):
        assert "conv9" in self.change(folder, lambda text: text.replace(",conv3,", ",conv9,"))

    def test_a_name_that_is_not_the_layers(self, folder):
        message = self.change(folder, lambda text: text.replace("conv1_conv2,conv1,conv2", "conv1_conv2,conv1,conv3"))
        assert "'conv1_conv2' does not go from conv1 to conv3" in message

    def test_a_missing_bundle(self, folder):
        message = self.change(
            folder,
            lambda text: "".join(line for line in text.splitlines(keepends=True) if not line.startswith("fc1_fc2,")),
        )
        assert "no runs of bundle 'fc1_fc2'" in message and "resume" in message

    def test_a_frequency_on_some_bundles_only(self, folder):
        message = self.change(
            folder,
            lambda text: "".join(
                line for line in text.splitlines(keepends=True) if not line.startswith("conv4,conv4,conv4,200")
            ),
        )
        assert "no runs of bundle 'conv4' at 200 Hz" in message

    def test_a_tensor_of_two_sizes(self, folder):
        assert "into layer 'fc1' has 36864 bytes in one row and 36865 in another" in self.change(
            folder, lambda text: text.replace(",36864,", ",36865,", 1)
        )

    def test_a_run_that_is_there_twice(self, folder):
        message = self.change(folder, lambda text: text + text.splitlines()[9] + "\n")
        assert "line 434: this run of bundle 'conv1' is there twice" in message

    def test_bytes_that_are_no_text(self, folder):
        path = folder / run.TIMINGS
        path.write_bytes(path.read_bytes().replace(b"fish", b"\xff\xfe", 1))
        with pytest.raises(TableError, match=r"timings\.csv"):
            load_profile(folder)

    def test_a_damaged_run_json(self, folder):
        (folder / run.RUN).write_text("{")
        with pytest.raises(TableError, match=r"run\.json is damaged"):
            load_profile(folder)

    @settings(max_examples=40, deadline=None)
    @given(st.data())
    def test_any_damage_is_one_line_or_the_same_layers(self, tmp_path_factory, data):
        folder = tmp_path_factory.mktemp("damage")
        spec = dict.fromkeys(run.SPEC_FIELDS)
        spec.update(network="alexnet", layers=list(ALEXNET.layers), device="nano", max_layers=8)
        run.RunSpec(**spec).write(str(folder))
        text = DAMAGED
        at = data.draw(st.integers(0, len(text) - 1))
        length = data.draw(st.integers(0, 40))
        text = text[:at] + data.draw(st.text(alphabet="0123456789.,-\nnae\x00é", max_size=6)) + text[at + length :]
        (folder / run.TIMINGS).write_text(text)
        try:
            assert load_profile(folder).layers == ALEXNET.layers
        except TableError as error:
            assert "\n" not in str(error) and run.TIMINGS in str(error)


DAMAGED = (
    ",".join(tables.header(tables.TIMINGS))
    + "\n"
    + "".join(",".join(tables.format_row(tables.TIMINGS, row)) + "\n" for row in rows(ALEXNET) if row["run"] == 0)
)


class TestPublishedFormats:
    def test_a_device_s_parquet(self, tmp_path):
        path = tmp_path / "alexnet_nano.parquet"
        parquet.write_table(pa.table(joined(ALEXNET)), path)
        profile = load_profile(path, device="nano", network="alexnet")
        assert same(profile, ALEXNET)
        assert profile.layers == ALEXNET.layers and profile.sizes_bytes is None
        assert load_profile(path).device == "alexnet_nano"

    @pytest.mark.parametrize(("unit", "factor"), [("ms", 1e3), ("s", 1.0)])
    def test_a_server_s_csv(self, tmp_path, unit, factor):
        columns = joined(ALEXNET, run_energy=None, frequency=None, durs=ALEXNET.run_duration_s * factor)
        columns["run"] = range(len(columns["run"]))  # the two clocks' runs are of one cell here
        path = tmp_path / "server.csv"
        lines = ["," + ",".join(columns)]
        lines += [f"{at}," + ",".join(map(str, row)) for at, row in enumerate(zip(*columns.values(), strict=True))]
        path.write_text("\n".join(lines) + "\n")
        profile = load_profile(path, duration_unit=unit)
        assert profile.frequencies_hz == (-1,) and profile.run_energy_j is None
        assert profile.run_duration_s.sum() == pytest.approx(ALEXNET.run_duration_s.sum())

    def test_times_of_zero_are_what_a_coarse_clock_gives(self, tmp_path):
        path = tmp_path / "server.csv"
        path.write_text("layers,durs,iter,run\nconv1,0,0,0\n")
        assert load_profile(path).means.duration_s[0, 0] == 0

    @pytest.mark.parametrize("spelling", ["joined", "ends", "enc_layer", "all", "all enc_layer"])
    def test_names_of_layers_that_have_underscores(self, tmp_path, spelling):
        layers = list(VIT.layers)
        names = []
        for cell in range(len(VIT.starts) - 1):
            first, last = VIT.bundles[cell // 2]
            joint = "__" if "all" in spelling else "_"
            name = spell(Bundle(first, last), layers) if spelling == "ends" else joint.join(layers[first : last + 1])
            if "enc_layer" in spelling:
                name = name.replace("encoder_layer_", "enc_layer_")
            names += [name] * 2
        path = tmp_path / "vit.parquet"
        parquet.write_table(pa.table(joined(VIT, layers=names)), path)
        for given_layers in (None, VIT.layers):
            profile = load_profile(path, layers=given_layers)
            assert profile.layers == VIT.layers and same(profile, VIT)

    def test_an_order_that_does_not_follow(self, tmp_path):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"layers": ["a", "b", "c"], "frequency": [1] * 3, "durs": [1.0] * 3}), path)
        with pytest.raises(TableError, match=r"t\.parquet: the order of the layers does not follow .* give layers="):
            load_profile(path)
        assert load_profile(path, layers=("b", "a", "c")).max_layers == 1

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"durs": None}, "lacks the column durs"),
            ({"layers": None, "names": ["conv1"] * len(ALEXNET.run_duration_s)}, "lacks the column layers"),
            ({"durs": -ALEXNET.run_duration_s}, "is not a finite number >= 0"),
            ({"durs": ALEXNET.run_duration_s * np.nan}, "duration nan of bundle 'conv1' in row 1 is not"),
            ({"run_energy": -ALEXNET.run_energy_j}, "energy -"),
            ({"durs": ["x"] * len(ALEXNET.run_duration_s)}, "column durs is not numbers"),
            ({"frequency": [1.5] * len(ALEXNET.run_duration_s)}, "frequency 1.5 in row 1 is not a whole number"),
        ],
    )
    def test_bad_columns(self, tmp_path, changes, message):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table(joined(ALEXNET, **changes)), path)
        with pytest.raises(TableError, match=message) as raised:
            load_profile(path)
        assert "t.parquet" in str(raised.value)

    def test_damaged_and_empty_files(self, tmp_path):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table(joined(ALEXNET)), path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(TableError, match=r"t\.parquet is not a whole parquet table"):
            load_profile(path)
        path.write_bytes(b"")
        with pytest.raises(TableError, match="is empty"):
            load_profile(path)
        parquet.write_table(pa.table(joined(ALEXNET)).slice(0, 0), path)
        with pytest.raises(TableError, match="without rows"):
            load_profile(path)
        for name, content, message in (
            ("a.csv", "", "is empty"),
            ("b.csv", "layers,durs\n", "no rows"),
            ("c.csv", "layers,durs\nconv1,1\nconv1", "truncated: its last line is incomplete"),
            ("d.csv", "layers,durs\nconv1,1,2\n", "not a whole CSV"),
        ):
            (tmp_path / name).write_text(content)
            with pytest.raises(TableError, match=message):
                load_profile(tmp_path / name)

    def test_an_unknown_unit(self, folder):
        with pytest.raises(InputError, match="unknown unit of durations 'us'; known: ms, s"):
            load_profile(folder, duration_unit="us")

    def test_names_that_are_no_bundles(self, tmp_path):
        path = tmp_path / "t.parquet"
        parquet.write_table(pa.table({"layers": ["a", "a_c"], "frequency": [1, 1], "durs": [1.0, 1.0]}), path)
        with pytest.raises(TableError, match=r"t\.parquet: 'a_c' is not a contiguous run of the layers a, b, c"):
            load_profile(path, layers=("a", "b", "c"))


@given(st.permutations(range(15)), st.sampled_from(["ends", "_", "__"]), st.integers(2, 15))
@settings(max_examples=40, deadline=None)
def test_the_chain_is_found_whatever_its_order(order, spelling, longest):
    """Order in the names counts, not the alphabet; the largest bundle need not be the whole network."""
    layers = [f"layer_{at}" if at % 2 else f"part{at}" for at in order]
    names = [
        layers[a]
        if a == b
        else (f"{layers[a]}__{layers[b]}" if spelling == "ends" else spelling.join(layers[a : b + 1]))
        for a in range(15)
        for b in range(a, min(15, a + longest))
    ]
    assert infer_layers(names, "t") == tuple(layers)


class TestStatistics:
    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=40))
    def test_trimmed_mean_is_by_value(self, values):
        cut = int(0.2 * len(values))
        expected = np.mean(sorted(values)[cut : len(values) - cut])
        starts = np.array([0, len(values)])
        assert stats.trimmed_mean(np.array(values), starts)[0] == pytest.approx(expected)

    def test_cells_of_different_sizes(self):
        values = np.arange(10.0)
        assert stats.trimmed_mean(values, np.array([0, 1, 4, 10])).tolist() == [0.0, 2.0, 6.5]

    @pytest.mark.parametrize("count", [10, 200])
    def test_the_interval_of_independent_runs_covers_the_mean(self, count):
        values = np.random.default_rng(2).normal(5, 1, 1000 * count)
        starts = np.arange(0, 1001) * count
        error, dof = stats.trimmed_error(values, starts)
        half = error * stats.student_factors(dof)
        covered = (abs(stats.trimmed_mean(values, starts) - 5) <= half).mean()
        assert 0.93 < covered < 0.97
        assert half.mean() == pytest.approx(2 / count**0.5, rel=0.35)

    def test_a_pass_counts_once_however_many_runs_it_has(self):
        values, passes = np.array([1.0, 1.0, 1.0, 1.0, 3.0, 5.0]), np.array([0, 0, 0, 0, 1, 2])
        starts = np.array([0, 6])
        assert stats.mean_of_passes(values, starts, passes) == [3.0]
        variance, dof = stats.error_of_passes(stats.pass_means(values, starts, passes), np.full((3, 1), 1 / 3))
        assert variance**0.5 * stats.student_factors(dof) == pytest.approx([4.302653 * 2 / 3**0.5])
        alone, none = stats.error_of_passes(np.array([[2.0]]), np.ones((1, 1)))
        assert np.isnan(alone * stats.student_factors(none)).all()

    def test_passes_that_a_cell_lacks(self):
        values, passes = np.array([1.0, 2.0, 3.0, 10.0, 20.0]), np.array([0, 1, 2, 1, 2])
        means = stats.pass_means(values, np.array([0, 3, 5]), passes)
        assert np.array_equal(means, [[1, np.nan], [2, 10], [3, 20]], equal_nan=True)
        assert stats.mean_of_passes(values, np.array([0, 3, 5]), passes).tolist() == [2.0, 15.0]

    def test_the_same_seed_gives_the_same_replicates(self):
        one, two, other = (ALEXNET.bootstrap(20, seed) for seed in (1, 1, 2))
        assert np.array_equal(one.duration_s, two.duration_s)
        assert not np.array_equal(one.duration_s, other.duration_s)
        assert one.duration_s.shape == (20, 36, 2)

    def test_summary(self):
        summary = ALEXNET.summary()
        assert len(summary) == 72 and (summary.n == RUNS).all()
        assert (summary.duration_s_low <= summary.duration_s).all()
        assert (summary.duration_s <= summary.duration_s_high).all()
        assert np.array_equal(summary.energy_j, ALEXNET.means.energy_j.ravel())
        assert "energy_j" not in synthetic.server(synthetic.ALEXNET).summary(intervals=False)

    def test_raw_runs(self):
        duration, energy = ALEXNET.runs(Bundle(0, 4), 200)
        assert len(duration) == len(energy) == RUNS
        assert stats.trimmed_mean(duration, np.array([0, RUNS]))[0] == ALEXNET.means.duration_s[4, 1]
        with pytest.raises(InputError, match="no bundle"):
            ALEXNET.runs(Bundle(0, 4), 300)


def test_bundles_beyond_the_largest_are_left_out():
    """A table may hold more than its run was asked for."""
    runs = RawRuns(np.array([0, 1, 0]), np.array([0, 1, 1]), np.full(3, -1), np.ones(3), None)
    arguments = {"device": "d", "network": "n", "layers": ("a", "b"), "path": "p"}
    assert from_runs(runs, **arguments).max_layers == 2
    assert from_runs(runs, **arguments, max_layers=1).bundles == [Bundle(0, 0), Bundle(1, 1)]


def test_run_json_lists_fields_that_exist(folder):
    assert set(json.loads((folder / run.RUN).read_text())) == {*schemas.KEYS, *run.SPEC_FIELDS, *run.OBSERVED_FIELDS}
    assert replace(ALEXNET, device="x").device == "x"
