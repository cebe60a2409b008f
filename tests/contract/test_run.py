import json
import os

import pytest

from dime.contract.errors import InputError, TableError
from dime.contract.run import (
    BOUNDS,
    COUNTS,
    OBSERVED_FIELDS,
    ORIGINS,
    RUN,
    SPEC_FIELDS,
    RunSpec,
    check_options,
    frequencies_by_device,
    parse_frequencies,
    parse_name,
    parse_share,
)
from dime.contract.schemas import KEYS


def spec(**changes):
    fields = {name: name for name in list(SPEC_FIELDS) + list(OBSERVED_FIELDS)}
    fields.update({name: 1 for name in COUNTS}, seed=0, min_window_s=0.0, frequencies_hz=[1], sessions=[])
    fields.update(origin="measured", power_model=None)
    return RunSpec(**dict(fields, **changes))


def test_it_is_read_as_it_was_written(tmp_path):
    spec(frequencies_hz=[-1], versions={"torch": "1.10"}).write(str(tmp_path))
    read = RunSpec.read(str(tmp_path))
    assert read.frequencies_hz == [-1]
    assert read.versions == {"torch": "1.10"}
    assert os.listdir(str(tmp_path)) == [RUN]


def test_only_what_was_asked_for_makes_runs_different():
    assert spec().differences(spec(state="complete", command_line="other")) == []
    assert spec().differences(spec(seed=1, runs=2)) == ["runs", "seed"]


def test_fields_must_be_the_known_ones():
    with pytest.raises(TableError, match="lacks .*network.* unknown colour"):
        RunSpec(colour="red")


@pytest.mark.parametrize("content, message", [("{", "damaged"), ("[]", "not an object"), ("{}", "lacks network")])
def test_damage_is_one_line_that_names_the_file(tmp_path, content, message):
    with open(str(tmp_path / RUN), "w") as stream:
        stream.write(content)
    with pytest.raises(TableError, match=message) as failure:
        RunSpec.read(str(tmp_path))
    assert RUN in str(failure.value)


@pytest.mark.parametrize(
    "field, value",
    [
        ("threads", -1),
        ("runs", 1e300),
        ("seed", float("nan")),
        ("min_window_s", float("inf")),
        ("frequencies_hz", [0.5]),
    ]
    + [("sessions", {}), ("sessions", [{"rows": 10**400}]), ("origin", "dreamt"), ("device", 5), ("max_layers", True)],
)
def test_a_value_of_no_use_is_one_line_that_names_it(tmp_path, field, value):
    spec(**{field: value}).write(str(tmp_path))
    with pytest.raises(TableError, match="run.json is damaged: .*(%s|session's)" % field):
        RunSpec.read(str(tmp_path))


def test_a_missing_one_is_one_line(tmp_path):
    with pytest.raises(TableError, match="No such file"):
        RunSpec.read(str(tmp_path))


def test_every_field_reaches_the_file(tmp_path):
    spec().write(str(tmp_path))
    with open(str(tmp_path / RUN)) as stream:
        assert list(json.load(stream)) == list(KEYS) + list(SPEC_FIELDS) + list(OBSERVED_FIELDS)


@pytest.mark.parametrize(
    "text, expected", [("all", "all"), ("100", [100]), ("100,-1", [100, -1]), ("1MHz+5%", [10**6, 5 * 10**7])]
)
def test_frequencies_as_they_are_typed(text, expected):
    assert parse_frequencies(text) == expected


def test_frequencies_of_several_devices():
    assert frequencies_by_device("nano=1+2, pc=all,3,4MHz") == {"nano": "1+2", "pc": "all", "": "3+4MHz"}


@pytest.mark.parametrize("text", ["", "1,", "1.5", "fast", "ALL"])
def test_what_is_no_frequency(text):
    with pytest.raises(InputError, match="'{}' is neither all nor whole numbers".format(text)):
        parse_frequencies(text)


def test_shares_as_they_are_typed():
    assert parse_share("3%") == parse_share("0.03") == 0.03
    for text in ("", "%", "three", "100%", "-1%", "nan", "1"):
        with pytest.raises(InputError, match="'{}' is no share".format(text)):
            parse_share(text)


@pytest.mark.parametrize(
    "name, value", [("runs", 0), ("warmups", -1), ("min_window_s", float("nan")), ("max_layers", 0)]
)
def test_options_without_use(name, value):
    check_options({"max_layers": None, "runs": 1})
    with pytest.raises(InputError, match="{} is {}; it must be at least".format(name, value)):
        check_options(dict({"max_layers": None}, **{name: value}))


@pytest.mark.parametrize("name", list(BOUNDS))
def test_every_option_has_a_greatest_value(name):
    most = BOUNDS[name][1]
    check_options({name: most})
    for value in (most + 1, 10**24, 1e300, float("inf")):
        with pytest.raises(InputError, match="{} is .*; it must be at most {}$".format(name, most)):
            check_options({name: value})


def test_the_threads_are_bounded_by_the_cores():
    check_options({"threads": 8}, cores=2)
    with pytest.raises(InputError, match="threads is 9; it must be at most 8, 4 for each core here"):
        check_options({"threads": 9}, cores=2)


def test_passes_are_not_given_up_before_those_that_are_asked_for():
    check_options({"iterations": 5, "most_iterations": 5})
    with pytest.raises(InputError, match="most_iterations is 4; it must be at least iterations, 5"):
        check_options({"iterations": 5, "most_iterations": 4})


def test_a_devices_name_is_plain():
    for name in ("local", "nano2", "Nano_1", "pi-4threads", "a.b", "3", "n" * 100):
        assert parse_name(name) == name
    for name in ("", "../../y", "a/b", ".hidden", "-x", "a b", "a\n", "a,b", "\u202e", "n" * 101):
        with pytest.raises(InputError, match="is no plain name"):
            parse_name(name)


def test_an_emulated_run_is_read_and_stands_between_a_recording_and_a_formula(tmp_path):
    assert ORIGINS == ("measured", "replayed", "emulated", "modelled")
    spec(origin="emulated").write(str(tmp_path))
    assert RunSpec.read(str(tmp_path)).origin == "emulated"
