"""Numbers that no integer takes or that are none, on every option and in every field of every file that is read.

Each is one clear line or a right result, never a traceback. What `dime solve` takes is tried in test_solve_command.
"""

import copy
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.contract import schemas
from dime.contract.errors import DimeError
from dime.contract.run import OBSERVED_FIELDS, SPEC_FIELDS, RunSpec
from dime.host.bench import lab
from dime.host.campaign import doctor
from dime.host.cli import main as cli
from dime.host.metering import gain
from dime.host.metering.api import Options
from dime.host.planning.formulation import build_problem
from dime.host.planning.links import load_link
from dime.host.profiles.joint_profile import join
from dime.host.profiles.profiles import load_profile
from dime.host.report import report_data
from tests.host.profiles.test_joint_profile import make

TYPED = ["1e300", "-1e300", "1e-300", "5e-324", "-0.0", "nan", "inf", "-inf", "1e19", "1e309", "9" * 400, "-1", "0"]
TYPED += ["1e300s", "5e-324J", "nanW", "1e9999MB"]
VALUES = [1e300, -1e300, 1e-300, 5e-324, -0.0, float("nan"), float("inf"), float("-inf"), 10**19, 10**400, -1, 0]
VALUES += [True, None, "x", "1e300", [], {}, [1e300], {"a": 1e300}, [[float("nan")]]]
IN_TOML = ["1e300", "-1e300", "1e-300", "5e-324", "-0.0", "nan", "inf", "-inf", "9" * 19, "9" * 400, "-1", "0", "true"]
IN_TOML += ['"x"', '"1e300"', '"nan"', "[]", "[1e300]", "[nan]", "{a=1e300}"]
COMMANDS = {
    "profile --net=alexnet --device=edge --results={r} --samples={s}": "runs iterations warmups max-layers threads seed"
    " energy-error freqs batch input cuts",
    "samples --net=torchvision:alexnet --samples=/proc/x": "batch input cuts dtype weights",
    "sweep --net=alexnet --results={r} --link=WiFi --out=/proc/x": "edge-power max-bundle result-bytes private sizes",
    "join --run={r}/edge/alexnet": "energy-error",
    "power serve --serial=/dev/nowhere --folder=/proc/x": "port baud",
    "power log /proc/x --serial=/dev/nowhere": "baud",
    "power calibrate /proc/x --serial=/dev/nowhere --watts-error=1%": "watts seconds",
    "power calibrate /proc/x --serial=/dev/nowhere --watts=5": "watts-error baud",
}


def one_line_or_a_result(action):
    try:
        action()
    except DimeError as error:
        assert "\n" not in str(error) and len(str(error)) < 2000


@pytest.mark.parametrize("words", COMMANDS)
def test_every_numeric_option(words, profiled, capsys):
    given = words.format(r=profiled / "results", s=profiled / "samples").split()
    for option in COMMANDS[words].split():
        for text in TYPED:
            status = cli.main([*given, f"--{option}={text}"])
            told = capsys.readouterr().err
            assert status in (0, 1) and "Traceback" not in told, (option, text, told)
            assert status == 0 or sum(line.startswith("dime: ") for line in told.splitlines()) == 1, (
                option,
                text,
                told,
            )


def leaves(value, path=()):
    """The paths of all values in a document, of long lists only the first ones."""
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(min(len(value), 2)):
            yield from leaves(value[key], (*path, key))


def changed(document, path, value):
    found = place = copy.deepcopy(document)
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def every_change(file):
    """Writes the file with every odd value in every place, one after the other; and at the end as it was."""
    text = file.read_text()
    document = json.loads(text)
    for path in leaves(document):
        for value in VALUES if len(path) < 3 else VALUES[::3]:
            file.write_text(json.dumps(changed(document, path, value)))
            yield path, value
    file.write_text(text)


def test_every_field_of_a_run(profiled, tmp_path):
    for name in ("edge", "server"):
        shutil.copytree(profiled / "results" / name / "alexnet", tmp_path / name)
    server = load_profile(tmp_path / "server")

    def use():
        RunSpec.read(str(tmp_path / "edge"))
        profile = load_profile(tmp_path / "edge").with_power(5.0)
        report_data._source(profile)
        build_problem([profile, server], "WiFi", "latency")

    content = json.loads((tmp_path / "edge/run.json").read_text())
    assert set(content) == {*schemas.KEYS, *SPEC_FIELDS, *OBSERVED_FIELDS}
    for _ in every_change(tmp_path / "edge/run.json"):
        one_line_or_a_result(use)
    use()


@pytest.mark.parametrize("name", ["run.json", "clock.json", "power_quality.json"])
def test_every_field_of_what_a_join_reads(name, tmp_path):
    folder, _ = make(tmp_path / "run")
    quality = {"meter": "smartpower3", "channel": "", "origin": "measured", "wire_s": 0.002, "breaks_ns": []}
    quality |= {"gain": {"factor": 1.0, "error": 0.01, "source": "x"}, "host_clock": {"boot_id": "here"}}
    (folder / "power_quality.json").write_text(json.dumps(quality))
    join(folder)
    for _ in every_change(folder / name):
        for made in folder.glob("joint_*"):
            made.unlink()
        one_line_or_a_result(lambda: join(folder))
    join(folder)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_number_of_the_tables_that_a_join_reads(tmp_path_factory, data):
    folder, _ = make(tmp_path_factory.mktemp("run"), iterations=1)
    file = folder / data.draw(st.sampled_from(["power.csv", "timings.csv"]))
    lines = file.read_text().splitlines()
    row = data.draw(st.integers(0, len(lines) - 1))
    cells = lines[row].split(",")
    cells[data.draw(st.integers(0, len(cells) - 1))] = data.draw(st.sampled_from([*TYPED, "", "x", "9" * 20]))
    file.write_text("\n".join([*lines[:row], ",".join(cells), *lines[row + 1 :]]) + "\n")
    one_line_or_a_result(lambda: join(folder))


def test_every_key_of_the_lab_file(tmp_path):
    file = tmp_path / "lab.toml"

    def check(text):
        file.write_text(text)
        one_line_or_a_result(lambda: list(doctor.check(lab.load(file))))

    for value in IN_TOML:
        check(f"registry = {value}\n[a]\nengine = 'local'\n")
        check(f"[a]\nengine = {value}\n")
        for key in lab.LabDevice.__dataclass_fields__:
            if key != "engine":
                check(f"[a]\nengine = 'local'\n{key} = {value}\n")
        for key in Options.__dataclass_fields__:
            port = "" if key == "port" else "port = '/dev/nowhere', "
            check(f"[a]\nengine = 'local'\nmeter = {{name = 'smartpower3', {port}{key} = {value}}}\n")


def test_every_field_of_a_link(tmp_path):
    fields = {"upload_mbit_s": "1", "download_mbit_s": "1", "alpha_up_mw": "1", "beta_mw": "1", "round_trip_s": "0.1"}
    for field in fields:
        for value in IN_TOML:
            lines = [f"{name} = {value if name == field else one}" for name, one in fields.items()]
            (tmp_path / "mine.toml").write_text("[a]\n" + "\n".join(lines) + "\n")
            one_line_or_a_result(lambda: load_link(f"{tmp_path}/mine.toml:a"))


def test_every_field_of_a_calibration(tmp_path):
    point = {name: 0.01 for name in gain._NUMBERS} | {"watts": 5.0, "read_w": 5.01, "utc": "2026"}
    file = tmp_path / "calibration.json"
    file.write_text(json.dumps({"meter": "smartpower3", "channel": "", "points": [point]}))
    gain.read(file)
    for _ in every_change(file):
        one_line_or_a_result(lambda: gain.read(file))
