"""Each table and JSON document that DIME writes says what it is, as ARCHITECTURE.md has it."""

import fnmatch
import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from pyarrow import parquet

import dime
from dime.contract import plugins, run, schemas, tables
from dime.contract.errors import TableError
from dime.contract.networks import parse
from dime.device import samples
from dime.device.boards import _sysfs
from dime.device.graphs import maps
from dime.host.compat import sweeps
from dime.host.execution import verification_files
from dime.host.metering.gain import Calibration, Point
from dime.host.metering.power_trace import read_quality
from dime.host.profiles import joint_profile, link_profile
from dime.host.profiles.profiles import load_profile
from dime.host.provenance.document import Artifact
from dime.host.provenance.evaluation import Evaluation
from dime.host.report import output, page
from dime.host.studies.request import Request
from tests.device.test_samples import TinyPlugin
from tests.host import example_studies, links, powered, small
from tests.host.execution import made as executed
from tests.host.profiles import test_encodings
from tests.lab.loads import Load
from tests.lab.meter import StandInMeter

LISTED = Path(dime.__file__).parents[1] / "ARCHITECTURE.md"
OLDER_REPORT = Path(__file__).parent / "data/older_reports/version_2.json"
MODEL = "from torch import nn\ndef build():\n    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten())\n"


class Said(NamedTuple):
    schema: str
    version: int


def listed() -> dict[str, tuple[Said, str]]:
    rows = {}
    _, _, text = LISTED.read_text().partition("## What is written")
    for line in text.partition("\n## ")[0].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            rows[cells[0].strip("`")] = Said(cells[1], int(cells[2])), cells[3]
    return rows


def quiet(*_, **__):
    pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with one of each."""
    top = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        load = plugins.load
        patch.setattr(plugins, "names", lambda package: ["tiny"])
        patch.setattr(plugins, "load", lambda p, name: TinyPlugin if name == "tiny" else load(p, name))
        samples.make("tiny", "builtin", str(top / "samples"), "seeded 0")
    (top / "mine.py").write_text(MODEL)
    maps.make(parse(f"{top}/mine.py:build", "1x3x8x8"), "random", str(top / "named"), "auto", "auto", quiet)
    watts = Load(powered.IDLE_W)
    with (
        pytest.MonkeyPatch.context() as patch,
        StandInMeter(watts) as meter,
        powered.serving(meter, top / "logs") as (port, thread),
    ):
        patch.setattr(powered.power_log, "REST_S", 0.5)
        powered.Device(watts).run(top / "run", port, patch)
        thread.join(10)
    (top / "coded").mkdir()
    spec = powered.spec(1, 1, 0.0, [])
    spec.encode = ["features:float16"]
    spec.write(str(top / "coded"))
    with tables.Writer(str(top / "coded" / run.ENCODINGS), tables.ENCODINGS) as writer:
        writer.write([test_encodings.row()])
    with tables.Writer(str(top / "coded" / run.OVERHEADS), tables.OVERHEADS) as writer:
        writer.write([{"frequency_hz": -1, "run": 0, "boundary": 0, "what": "hop", "size_bytes": 4, "seconds": 1e-4}])
    joint_profile.join(top / "run", top / "logs", clock="exchanges")
    clock = _sysfs.Clock(str(top / "clock"), "", 1)
    (top / "clock").mkdir()
    for name in ("min", "max", "cur"):
        (top / "clock" / f"{name}_freq").write_text("1000")
    with _sysfs.restoring([clock.saved()], str(top / "now")):
        (top / run.LEDGER).write_bytes((top / "now").read_bytes())
    point = Point(5.0, 0.005, 5.2, 0.001, 10.0, "2026-01-01T00:00:00Z")
    Calibration("smartpower3", "", (point,)).write(top / "calibration.json")
    study = example_studies.study()
    request = Request.of("solve", study.profiles)
    output.write(study, top / "plans", request=request)
    Artifact("", (), "", dime.__version__, "", {}, (), (), ()).write(top)
    Evaluation("", "", (), {}).write(top)
    verification_files.write(executed.verification(), top / "plans" / "verified" / "001")
    (top / "link").mkdir()
    with tables.Writer(top / "link" / link_profile.TABLE, tables.TRANSFERS) as writer:
        writer.write(links.exchanges(passes=2))
    found = link_profile.fit(
        link_profile.read_transfers(top / "link" / link_profile.TABLE), "a-b", "a", "b", "measured"
    )
    link_profile.write(found, top / "link")
    sweeps.write(sweeps.tables({"test": small.problem(3, 2, 1)}), top / "sweeps")
    return top


def said_by(path: Path) -> Said:
    """What a file says of itself, or what stands beside it about it."""
    if path.suffix == ".parquet":
        about = parquet.read_schema(path).metadata
        return Said(about[b"schema"].decode(), int(about[b"version"]))
    if path.suffix == ".json":
        content = json.loads(path.read_text())
        return Said(content["format" if path.name == "graph.json" else "schema"], content["version"])
    told = [json.loads(one.read_text()).get("tables", {}) for one in path.parent.glob("*.json")]
    (about,) = [one[path.name] for one in told if path.name in one]
    return Said(about["schema"], about["version"])


def row_of(name: str) -> str:
    if name.endswith("_quality.json") and not name.startswith("joint"):
        return "power_quality.json"
    return next((pattern for pattern in listed() if fnmatch.fnmatch(name, pattern)), "power.csv")


def test_each_file_says_what_the_list_says(made):
    found = {}
    for path in sorted(path for path in made.rglob("*") if path.suffix in (".json", ".csv", ".parquet")):
        found.setdefault(row_of(path.name), set()).add(said_by(path))
    assert found == {name: {said} for name, (said, _) in listed().items()}


def test_the_list_has_the_names_that_the_code_has():
    known = {Said(*one) for one in vars(schemas).values() if isinstance(one, schemas.Schema)}
    assert {said for said, _ in listed().values()} == known | {Said("dime graph", 1)}


def changed(path: Path, **fields) -> None:
    content = json.loads(path.read_text())
    path.write_text(
        json.dumps({key: value for key, value in (content | fields).items() if fields.get(key, 0) is not None})
    )


def log_of(folder: Path) -> Path:
    return next(path for path in folder.glob("*.csv") if path.with_name(path.stem + "_quality.json").exists())


def test_what_says_nothing_is_the_first_version(made, tmp_path):
    folder, page_folder, log = made / "run", tmp_path, log_of(made / "logs")
    shutil.copy(OLDER_REPORT, page_folder / "report.json")
    before = load_profile(folder), read_quality(log), page._read(page_folder / "report.json")
    for path in [*folder.glob("*.json"), *log.parent.glob("*.json")]:
        changed(path, schema=None, version=None, tables=None)
    table = parquet.read_table(folder / run.JOINT_PROFILE)
    about = {name: value for name, value in table.schema.metadata.items() if name not in (b"schema", b"version")}
    parquet.write_table(table.replace_schema_metadata(about), folder / run.JOINT_PROFILE)
    changed(page_folder / "report.json", schema=None, version=None, format=2)
    assert repr(load_profile(folder)) == repr(before[0])
    assert schemas.without(read_quality(log)) == schemas.without(before[1])
    assert page._read(page_folder / "report.json") == before[2]
    joint_profile.join(folder, made / "logs", clock="exchanges")  # the same result, which now says what it is
    assert said_by(folder / run.JOINT_PROFILE) == Said("dime.joint_profile", 1)
    assert said_by(folder / joint_profile.SUMMARY) == Said("dime.joint_summary", 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"version": 99}, "was written by a later version of DIME"),
        ({"schema": "dime.other"}, "is damaged: it is no dime.run"),
        ({"version": "x"}, "is damaged: its version is"),
        ({"version": True}, "is damaged: its version is"),
        ({"tables": {"timings.csv": {"version": 99}}}, "timings.csv was written by a later version"),
        ({"tables": [1]}, "is damaged: its tables are no schemas"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path, fields, reason):
    powered.spec(1, 1, 0.0, []).write(str(tmp_path))
    changed(tmp_path / run.RUN, **fields)
    with pytest.raises(TableError, match=reason):
        run.RunSpec.read(str(tmp_path))
