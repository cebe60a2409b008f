"""The link between two processes of this computer, measured by the command, and planned with."""

import os

import pytest

from dime.contract.errors import InputError, TableError
from dime.host.planning import problem_files
from dime.host.planning.links import load_link
from dime.host.profiles import link_profile
from tests.host import links, small
from tests.host.conftest import dime


def written(folder, **how):
    folder.mkdir(parents=True)
    link_profile.write(link_profile.fit(links.exchanges(**how), "nano-pc", "nano", "pc", "measured"), folder)


def test_an_emulated_link_is_measured_and_labelled(tmp_path):
    options = ["--iterations=3", "--runs=2", "--largest=100kB", "--emulate=up=20,down=40,rtt=20ms"]
    said = dime("link", "--edge=nano", "--server=pc", *options, folder=tmp_path)
    folder = tmp_path / "results/links/nano-pc/001"
    assert sorted(path.name for path in folder.iterdir()) == ["link.json", "transfers.csv"]
    assert "emulated in 3 passes" in said.stdout
    assert str(folder.relative_to(tmp_path)) in said.stdout
    found = link_profile.read(folder)
    assert found.origin == "emulated"
    assert found.about["emulated"]["kept"]["up"]["bytes"] > 3 * 2 * 100_000
    assert found.upload_bit_s.value == pytest.approx(20e6, rel=0.3)
    assert 0.02 <= found.round_trip_s.value < 0.06
    assert len(link_profile.read_transfers(folder / "transfers.csv")) == 3 * 2 * 2 * len(found.about["sizes_bytes"])
    dime("link", "--edge=nano", "--server=pc", *options[:2], "--largest=1kB", folder=tmp_path)
    assert link_profile.read(folder.with_name("002")).origin == "measured"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--edge=pc", "--server=pc"], "joins two devices, not pc to itself"),
        (["--edge=../x"], "is no plain name"),
        (["--iterations=0"], "iterations is 0; it must be at least 1"),
        (["--runs=0"], "runs is 0; it must be at least 1"),
        (["--largest=64"], "must be more than 64"),
        (["--largest=much"], "largest"),
        (["--time-limit=-1"], "the time limit is -1 s"),
        (["--emulate=9G"], "unknown link '9G'"),
        (["--emulate=up=0,down=1"], "bit/s"),
        (["--net=alexnet"], "no profile of alexnet in results"),
        (["--lab=none.toml"], "none.toml"),
    ],
)
def test_bad_input_is_one_line(tmp_path, options, told):
    said = dime("link", *options, folder=tmp_path, check=False)
    assert said.returncode == 1
    assert told in said.stderr
    assert len(said.stderr.strip().splitlines()) == 1
    assert not os.listdir(tmp_path)


def test_a_device_that_the_lab_file_does_not_know_is_told(tmp_path):
    (tmp_path / "lab.toml").write_text('[nano]\nengine = "local"\n')
    said = dime("link", "--edge=nano", "--server=pc", folder=tmp_path, check=False)
    assert "unknown device 'pc'" in said.stderr


def test_the_newest_measurement_is_the_link(tmp_path):
    for number, rate in (("001", 5e6), ("002", 10e6)):
        written(tmp_path / "links/nano-pc" / number, truth=(0.02, rate, 30e6))
    (tmp_path / "links/nano-pc/003").mkdir()
    link = load_link("nano-pc", tmp_path)
    assert link.upload_bit_s == pytest.approx(10e6)
    assert (link.name, link.origin, len(link.passes)) == ("nano-pc", "measured", 5)
    first = load_link(str(tmp_path / "links/nano-pc/001"))
    assert first.upload_bit_s == pytest.approx(5e6)
    problem_files.write(small.problem(2, 2, 1, link=link), tmp_path)
    assert problem_files.read(tmp_path).joined[0, 1] == link, "a problem's file has it as JSON"


def test_its_passes_say_what_a_transfer_takes(tmp_path):
    written(tmp_path / "links/nano-pc/001", noise="jitter")
    link = load_link("nano-pc", tmp_path)
    assert link.passes_s(602112, True).mean() == pytest.approx(link.latency_s(602112, True), rel=0.01)
    assert link.deviation_s(64, True) == pytest.approx(link.spread_s / 2**0.5, rel=0.01)
    assert load_link("WiFi").passes_s(64, True).size == 0
    assert load_link("WiFi").deviation_s(602112, False) == 0


def test_a_measured_link_that_is_not_there_is_told(tmp_path):
    written(tmp_path / "links/nano-pc/001")
    with pytest.raises(InputError, match="did you mean 'nano-pc'"):
        load_link("nano-p", tmp_path)
    (tmp_path / "links/empty").mkdir()
    with pytest.raises(TableError, match=r"link\.json"):
        load_link("empty", tmp_path)
