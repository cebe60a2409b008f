"""Links: known ones, one's own, and which pair has which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract.bundles import Bundle
from dime.contract.errors import InputError
from dime.host.analysis.resampling import Samples
from dime.host.common import student
from dime.host.planning.formulation import build_problem
from dime.host.planning.links import Link, connect, known_links, load_link, located
from dime.host.planning.plan import describe
from dime.host.planning.problem import Choice
from dime.host.profiles import link_profile
from dime.host.profiles.scatter import Scatter
from dime.testing import synthetic
from tests.host import links

FACTS = {
    "3G": (2.0275, 1.1, 122.12, 868.98, 817.88),
    "4G": (13.76, 5.85, 51.97, 438.39, 1288.04),
    "WiFi": (54.97, 18.88, 137.01, 283.17, 132.86),
}


@pytest.mark.parametrize("name", FACTS)
def test_known_links_in_both_directions(name):
    down, up, alpha_down, alpha_up, beta = FACTS[name]
    link = load_link(name)
    for rate, alpha, upload in ((up, alpha_up, True), (down, alpha_down, False)):
        seconds = 1000 * 8 / (rate * 1e6)
        assert link.latency_s(1000, upload) == pytest.approx(seconds, rel=1e-12)
        assert link.energy_j(1000, upload) == pytest.approx((alpha * rate + beta) * 1e-3 * seconds, rel=1e-12)
        published_uj = (alpha / (1000 * 8) * (rate * 1e6 / 8) + beta / 1000) * seconds
        assert link.energy_j(1000, upload, "published") == pytest.approx(published_uj * 1e-6, rel=1e-12)
    assert link.source


TODAY = {
    "5G": (207.42, 19.90, 0.044),
    "WiFi 6": (838, 838, 0.003),
    "Ethernet": (941, 941, 0.0005),
    "LTE-M": (0.3, 0.375, 0.03),
}


def test_the_known_ones_are_these_each_with_its_source():
    assert set(known_links()) == {*FACTS, *TODAY}
    for name, (down, up, trip_s) in TODAY.items():
        link = load_link(name)
        assert (link.download_bit_s, link.upload_bit_s) == (pytest.approx(down * 1e6), pytest.approx(up * 1e6))
        assert link.round_trip_s == trip_s and link.source
        assert not link.has_radio and not link.has_states, "no source gives the radio's power, so none is made up"
    assert not load_link("LTE-M").duplex and not load_link("WiFi 6").duplex


def test_rates_of_ones_own_with_the_radio_of_a_known_link():
    link, known = load_link("up=20,down=50,rtt=0.01,like=WiFi"), load_link("WiFi")
    assert (link.upload_bit_s, link.download_bit_s, link.round_trip_s) == (20e6, 50e6, 0.01)
    assert (link.upload_j_per_bit, link.download_j_per_bit) == (known.upload_j_per_bit, known.download_j_per_bit)
    assert link.radio_w == known.radio_w and "that of WiFi: JointDNN" in link.source
    assert link.name == "up=20,down=50,rtt=0.01,like=WiFi"


def test_each_transfer_pays_half_the_round_trip_in_time_and_nothing_in_energy():
    quick, slow = load_link("up=8,down=8,beta=1000"), load_link("up=8,down=8,beta=1000,rtt=0.05")
    assert slow.latency_s(1000, True) == pytest.approx(quick.latency_s(1000, True) + 0.025)
    assert slow.energy_j(1000, True) == quick.energy_j(1000, True) == pytest.approx(1e-3)


def test_a_link_of_numbers():
    link = load_link("up=5.85, down=13.76, alpha_up=438.39, alpha_down=51.97, beta=1288.04")
    known = load_link("4G")
    assert link.energy_j(36864, True) == known.energy_j(36864, True)
    assert link.latency_s(4, False) == known.latency_s(4, False)


def test_a_link_from_a_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[lora]\nupload_mbit_s = 0.05\ndownload_mbit_s = 0.05\n")
    assert load_link(f"{path}:lora") == load_link(str(path))
    assert load_link(str(path)).upload_bit_s == 50_000
    path.write_text(path.read_text() + "[other]\nupload_mbit_s = 1\ndownload_mbit_s = 1\n")
    with pytest.raises(InputError, match=r"unknown link of .*; known: lora, other"):
        load_link(str(path))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("6G", r"unknown link '6G'; known: 3G, 4G, 5G, Ethernet, LTE-M, WiFi, WiFi 6, or FILE.toml:NAME, or up="),
        ("up=1,down=1,like=Wifi", r"unknown link 'Wifi'.*did you mean 'WiFi'"),
        ("up=1,down=1,like=WiFi,beta=3", r"the radio's numbers are those of WiFi; leave out beta"),
        ("down=1,like=WiFi", r"lacks up"),
        ("up=1", "lacks down"),
        ("up=1,down=x", "down = 'x' is not a number"),
        ("up=1,down=2,color=3", "unknown part 'color'"),
        ("up=0,down=1", "not a finite number >= 1"),
        ("up=nan,down=1", "not a finite number >= 1"),
        ("up=1,down=1,rtt=-1", "not a finite number >= 0"),
        ("nowhere.toml:x", "No such file"),
    ],
)
def test_what_is_no_link(text, message):
    with pytest.raises(InputError, match=message):
        load_link(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x = [", "is not TOML"),
        ("rate = 1", "outside of a link's section"),
        ("[a]\nupload_mbit_s = 1\ndownload_mbit_s = '2'", "is not a number"),
        ("[a]\nupload_mbit_s = 1\ndownload_mbit_s = true", "is not a number"),
        ("[a]\nupload_mbit_s = 1\ndownload_mbit_s = 1\ncolour = 1", "unknown field 'colour'; known: alpha_down_mw"),
        ("[a]\nupload_mbit_s = 1", "lacks download_mbit_s"),
    ],
)
def test_damaged_files(content, message, tmp_path):
    (tmp_path / "mine.toml").write_text(content)
    with pytest.raises(InputError, match=message):
        load_link(f"{tmp_path / 'mine.toml'}:a")


def test_unknown_arithmetic():
    with pytest.raises(InputError, match="unknown arithmetic 'new'; known: correct, published"):
        load_link("4G").energy_j(1, True, "new")


class TestConnect:
    DEVICES = ("nano", "hub", "wiscad")

    def test_one_link_for_all(self):
        for spec in ("4G", load_link("4G")):
            assert connect(spec, self.DEVICES) == dict.fromkeys([(0, 1), (0, 2), (1, 2)], load_link("4G"))
        assert connect("4G", ["alone"]) == {}
        assert connect("up=1,down=2", ("a", "b")) == {(0, 1): load_link("up=1,down=2")}

    def test_pair_by_pair(self):
        spec = "nano-hub: WiFi; nano-wiscad: up=1,down=2; wiscad-hub: none"
        expected = {(0, 1): load_link("WiFi"), (0, 2): load_link("up=1,down=2"), (2, 1): None}
        assert connect(spec, self.DEVICES) == expected
        as_mapping = {("nano", "hub"): "WiFi", ("nano", "wiscad"): "up=1,down=2", ("wiscad", "hub"): None}
        assert connect(as_mapping, self.DEVICES) == expected

    def test_a_pair_s_file(self, tmp_path):
        path = tmp_path / "mine.toml"
        path.write_text("[lora]\nupload_mbit_s = 0.05\ndownload_mbit_s = 0.05\n")
        assert connect(f"a-b: {path}:lora", ("a", "b")) == connect(f"{path}:lora", ("a", "b"))

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("nano-hub: WiFi", "no link given for nano-wiscad, hub-wiscad; name one, or none: 'nano-wiscad: none'"),
            ("nano-moon: WiFi; nano-hub: 4G", "unknown pair of devices 'nano-moon'; known: hub-nano"),
            ("nano-hub: WiFi; nano-hub: 4G", "given twice"),
            ("nano-hub: WiFi; hub-nano: 4G; nano-wiscad: 4G; hub-wiscad: 4G", "the pair twice"),
            ("nano-hub: LTE; nano-wiscad: 4G; hub-wiscad: 4G", "unknown link 'LTE'"),
            ({("nano", "moon"): "4G"}, "unknown device in link nano-moon 'moon'; known: hub, nano, wiscad"),
            ({("nano", "nano"): "4G"}, "to itself"),
        ],
    )
    def test_refusals(self, spec, message):
        with pytest.raises(InputError, match=message):
            connect(spec, self.DEVICES)


@given(
    st.integers(0, 10**9),
    st.floats(1e3, 1e10),
    st.floats(0, 1),
    st.floats(0, 1e-6),
    st.floats(0, 5),
)
def test_sending_more_never_costs_less(size, rate, round_trip, per_bit, idle):
    link = Link("x", rate, rate, round_trip, per_bit, per_bit, idle)
    assert link.latency_s(size + 1, True) >= link.latency_s(size, True) >= round_trip / 2
    for arithmetic in ("correct", "published"):
        assert link.energy_j(size + 1, False, arithmetic) >= link.energy_j(size, False, arithmetic) >= 0


@pytest.fixture
def measured(tmp_path):
    found = link_profile.fit(links.exchanges(noise="normal", between=0.05), "nano-pc", "nano", "pc", "measured")
    folder = tmp_path / "links" / "nano-pc" / "001"
    folder.mkdir(parents=True)
    link_profile.write(found, folder)
    (tmp_path / "train.csv").write_text("time,up,down,rtt\n0,8,24,0.002\n1,80,240,0.001\n4,0.8,2.4,0.1\n")
    return tmp_path


def test_a_measured_link_and_a_trace_take_the_radio_of_a_known_one(measured):
    wifi, trace = load_link("WiFi"), str(measured / "train.csv")
    for text in ("nano-pc", trace):
        bare, link = load_link(text, measured), load_link(f"{text},like=WiFi", measured)
        assert not bare.has_radio and link.has_radio and link.name == f"{text},like=WiFi"
        assert (link.upload_bit_s, link.passes, link.trace) == (bare.upload_bit_s, bare.passes, bare.trace)
        assert (link.radio_w, link.tail_s, link.duplex) == (wifi.radio_w, wifi.tail_s, False)
        assert link.origin == bare.origin != "modelled"
        assert link.source.startswith(f"{bare.source}; the radio is modelled as that of WiFi: JointDNN")
    assert located("nano-pc,like=WiFi", str(measured)) == f"{measured}/links/nano-pc,like=WiFi"
    spelled = connect(f"edge-pc: {trace},like=4G", ["edge", "pc"])[0, 1]
    assert spelled.trace and spelled.radio_w == load_link("4G").radio_w
    for text, line in (
        ("nano-pc,like=Wifi", "unknown link 'Wifi'.*did you mean 'WiFi'"),
        ("4G,like=WiFi", "4G has its own radio's numbers; leave out like="),
        ("nono,like=WiFi", "unknown link 'nono'.*nano-pc"),
    ):
        with pytest.raises(InputError, match=line):
            load_link(text, measured)


@pytest.mark.parametrize("goal", ["energy", "weighted:1,1"])
def test_energy_over_a_measured_link_has_the_radio_and_its_error(measured, goal):
    profiles = [synthetic.profile(synthetic.ALEXNET, runs=4), synthetic.server(synthetic.ALEXNET)]
    with pytest.raises(InputError, match=r"without radio of nano-pc: its power is not given: LINK=\.\.\.,like="):
        build_problem(profiles, load_link("nano-pc", measured), goal)
    link = load_link("nano-pc,like=4G", measured)
    problem = build_problem(profiles, link, goal)
    there = (Choice(Bundle(0, len(problem.layers) - 1), 1, -1),)
    plan, size = describe(problem, there), synthetic.ALEXNET.sizes_bytes[0]
    assert plan.radio_j == pytest.approx(link.energy_j(size, True) + link.energy_j(4, False))
    passes_j = link.passes_j(size, True) + link.passes_j(4, False)
    assert passes_j.mean() == pytest.approx(plan.radio_j, rel=0.05)
    low, high = Samples(problem, (), (), (), tuple(map(Scatter.of, profiles))).interval(there, (), "energy")
    half = student.quantile(0.975, len(passes_j) - 1) * passes_j.std(ddof=1) / len(passes_j) ** 0.5
    assert (high - low) / 2 == pytest.approx(half, rel=1e-6), "the server's joules do not count"


def test_a_lone_packets_radio_energy_is_what_the_paper_says():
    """12.76 J, 7.38 J and 0.04 J; that of 4G has 0.18 J of receptions in its tail, which the link's entry has not."""
    for name, joules, off in (("4G", 12.76, 0.02), ("3G", 7.38, 0.002), ("WiFi", 0.04, 0.05)):
        link = load_link(name)
        assert link.promotion_s * link.promotion_w + link.tail_s * link.tail_w == pytest.approx(joules, rel=off), name
        assert not link.states_checked
