"""The report as a person meets it: in a real browser, with mouse, finger and keys."""

import contextlib
import itertools
import json
import re
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from dime.contract.run import ORIGINS
from dime.host.common.units import percent, quantity
from dime.host.planning.certificate import Certificate
from dime.host.planning.goals import Limits
from dime.host.report import page as report
from dime.host.studies.study import make_study
from dime.testing import synthetic
from tests.host import example_studies as studies
from tests.host.report.test_model import encoded

pytestmark = pytest.mark.browser

FRONTIER = "svg[aria-label*='best trade-offs']"
READOUT = f"document.querySelector(\"{FRONTIER}\").closest('section').querySelector('.readout').innerText"


FIRST = "#link=3G"  # of "full": else the most interesting link is open


def write(study, folder, name):
    path = folder / f"{name}.html"
    report.write(study, path, "dime solve --net=alexnet")
    return path


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Reports of a measured study with everything in it, of one without energy, and of one with hostile names."""
    folder = tmp_path_factory.mktemp("reports")
    full = studies.with_uncertainty(studies.study("3G,4G,WiFi", origin="measured"))
    return full, {
        "full": write(full, folder, "full"),
        "no energy": write(studies.study(energy=False), folder, "no_energy"),
        "hostile": write(studies.hostile(), folder, "hostile"),
    }


def unfold(page):
    """Opens what is folded, and waits until it has been drawn: what was folded had no width."""
    page.value("document.querySelectorAll('.folded > details').forEach((node) => { node.open = true; })")
    page.settle()


def text(page):
    return page.value("document.body.innerText")


@pytest.mark.parametrize("name", ["full", "no energy", "hostile"])
def test_it_opens_without_a_complaint_and_asks_for_nothing_else(page, pages, name):
    path = pages[1][name]
    page.open(path)
    assert page.requests == [path.as_uri()]
    assert page.complaints == []
    assert "The plan" in text(page)


@pytest.mark.parametrize("kept", ["older_results/plans/report.json", "older_reports/version_2.json"])
def test_a_report_of_an_earlier_version_opens_as_well(page, tmp_path, kept):
    shutil.copy(Path(__file__).parents[1] / "data" / kept, tmp_path / "report.json")
    report.remake(tmp_path)
    page.open(tmp_path / "report.html")
    unfold(page)
    assert page.complaints == []
    link = json.loads((tmp_path / "report.json").read_text())["data"]["links"][0]
    assert "The plan" in text(page) and quantity(link["plan"]["latency_s"], "s") in text(page)
    cells = page.value("document.querySelectorAll('#panel .strip:not(.small) .bundle').length")
    assert cells == len(link["plan"]["steps"])


def test_what_is_sent_encoded_is_told_with_its_effect(page, tmp_path):
    study = encoded()
    page.open(write(study, tmp_path, "encoded"))
    unfold(page)
    assert page.complaints == []
    (link,) = study.links
    (other,) = link.other_inputs
    said = text(page)
    assert "Sent encoded" in said or not link.plan.transfers
    assert "The input sent in another way" in said and other.encoding in said
    assert quantity(other.value, link.problem.goal.unit) in said


@pytest.mark.parametrize("name", ["full", "no energy", "hostile"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(page, pages, name):
    page.open(pages[1][name], width=390, height=844, phone=True)
    tabs = page.value("document.querySelectorAll('[role=tab]').length")
    for tab in range(tabs):
        page.value(f"document.querySelectorAll('[role=tab]')[{tab}].click()")
        page.settle()
        assert page.value("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
        assert page.value("[...document.querySelectorAll('svg')].every((s) => s.getBoundingClientRect().right <= 390)")
        small = (
            "[...document.querySelectorAll('svg text')].filter((t) => parseFloat(getComputedStyle(t).fontSize) < 11)"
        )
        assert page.value(f"{small}.length") == 0


def fills(pdf):
    """The colours, as PDF's own operands, that a PDF's pages are filled with."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    colours = set()
    for stream in streams:
        with contextlib.suppress(zlib.error):
            content = zlib.decompress(stream)
            colours |= {tuple(round(255 * float(part)) for part in found) for found in
                        re.findall(rb"([\d.]+) ([\d.]+) ([\d.]+) rg", content)}  # fmt: skip
    return colours


@pytest.mark.parametrize("dark", [False, True])
def test_on_paper_strips_and_bars_keep_their_colours_without_background_graphics(page, pages, dark):
    page.open(pages[1]["full"], dark=dark)
    two_devices_and_the_link_in_light = {(0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00), (0x9A, 0xA4, 0xAE)}
    assert two_devices_and_the_link_in_light <= fills(page.pdf())


@pytest.mark.parametrize("name", ["full", "no energy", "hostile"])
def test_on_paper_every_link_stands_with_everything_in_it_and_nothing_is_cut_off(page, pages, name):
    page.open(pages[1][name], width=704, height=1000)
    on_screen = page.value("document.querySelectorAll('#panel section').length")
    page.on_paper()
    tabs = page.value("[...document.querySelectorAll('[role=tab]')].map((tab) => tab.textContent)")
    assert page.value("[...document.querySelectorAll('#paper .link')].map((node) => node.textContent)") == (
        tabs if len(tabs) > 1 else []
    )
    plans = "[...document.querySelectorAll('#paper h2')].filter((node) => node.innerText === 'The plan').length"
    assert page.value(plans) == len(tabs)
    assert page.value("document.querySelectorAll('#paper section').length") >= len(tabs) * (on_screen - 2)  # no sliders
    assert page.value("document.documentElement.scrollWidth") <= 704
    beyond = "[...document.querySelectorAll('#paper *')].filter((node) => node.getBoundingClientRect().right > 705)"
    assert page.value(f"{beyond}.map((node) => node.outerHTML.slice(0, 200))") == []
    assert page.value("[...document.querySelectorAll('#paper details')].every((node) => node.open)")
    page.on_paper(False)
    assert page.value("document.getElementById('paper')") is None


def test_the_mouse_finds_the_plan_behind_a_point(page, pages):
    study, paths = pages
    page.open(paths["full"], to=FIRST)
    front = study.links[0].frontier
    at = len(front) - 1
    page.hover(*page.middle(f"{FRONTIER} .p-measured", at))
    shown = page.value(READOUT)
    assert f"point {at + 1} of {len(front)}" in shown
    assert quantity(float(front.time_s[at]), "s") in shown
    assert quantity(float(front.energy_j[at]), "J") in shown
    for step in front.plan(at).steps:
        assert quantity(step.frequency_hz, "Hz") in shown
    assert page.value(f'document.querySelectorAll("{FRONTIER} .cross").length') == 1


def test_a_finger_does_the_same(page, pages):
    study, paths = pages
    page.open(paths["full"], width=390, height=844, phone=True, to=FIRST)
    page.tap(*page.middle(f"{FRONTIER} .p-measured"))
    assert f"point 1 of {len(study.links[0].frontier)}" in page.value(READOUT)


def test_and_so_do_the_arrow_keys(page, pages):
    study, paths = pages
    page.open(paths["full"], to=FIRST)
    page.value(f'document.querySelector("{FRONTIER}").focus()')
    for _ in range(2):
        page.press("ArrowRight")
    assert f"point 2 of {len(study.links[0].frontier)}" in page.value(READOUT)


def test_a_baseline_answers_too(page, pages):
    study, paths = pages
    page.open(paths["full"], to=FIRST)
    names = page.value("[...document.querySelectorAll('.choice button')].map((button) => button.innerText)")
    page.click(".choice button", names.index("everything"))
    row = next(row for row in study.links[0].baselines if row.name == "all on wiscad")
    points = len(study.links[0].frontier)
    own = study.links[0].plan.choices(study.links[0].problem)
    others = dict.fromkeys(row.choices for row in study.links[0].baselines[1:] if row.choices != own)
    index = list(others).index(row.choices)  # equal ones are one
    page.value(f'document.querySelector("{FRONTIER}").choose({points + index})')
    assert "all on wiscad" in page.value(READOUT)
    assert quantity(row.plan.latency_s, "s") in page.value(READOUT)


def test_each_link_has_its_tab(page, pages):
    study, paths = pages
    page.open(paths["full"])
    for at, link in enumerate(study.links):
        page.click("[role=tab]", at)
        unfold(page)
        panel = page.value("document.getElementById('panel').innerText")
        assert quantity(link.plan.latency_s, "s") in panel
        assert str(link.plan.certificate) in panel
        assert link.plan.certificate.confirmation in panel
        assert page.value("document.querySelector('[aria-selected=true]').innerText") == link.name
    page.press("ArrowRight")
    assert page.value("document.querySelector('[aria-selected=true]').innerText") == study.links[0].name


def test_the_strip_has_every_layer_in_its_devices_colour(page, pages):
    study, paths = pages
    page.open(paths["full"])
    page.click("[role=tab]", 2)
    unfold(page)
    page.settle()
    cells = page.value("[...document.querySelectorAll('#panel .strip:not(.small) .layer')].map((c) => c.className)")
    plan = study.links[2].plan
    expected = [
        f"d{0 if step.device == 'nano' else 1}" for step in plan.steps for _ in range(step.first, step.last + 1)
    ]
    assert [name.split()[2] for name in cells] == expected
    sent = page.value("document.querySelectorAll('#panel .strip:not(.small) .sent').length")
    assert sent == len(plan.transfers)


def test_every_origin_has_a_shape_and_a_word(page, tmp_path):
    shapes = {}
    for origin in ORIGINS:
        page.open(write(studies.study("3G", origin=origin), tmp_path, origin))
        assert f"time {origin}" in page.value("document.querySelector('.device').innerText")
        mark = page.value(f'document.querySelector("{FRONTIER} .p-{origin}").outerHTML')
        shapes[origin] = mark.split(" d=")[0].split()[0], mark.count("L"), mark.count("Z")
    assert len(set(shapes.values())) == len(ORIGINS)


def test_what_is_modelled_is_hatched(page, pages):
    page.open(pages[1]["full"])
    image = (
        "getComputedStyle(document.querySelector('.device + .device') && document.querySelector('{}')).backgroundImage"
    )
    assert "gradient" in page.value(image.format(".fill.modelled"))
    assert page.value(image.format(".layer.measured")) == "none"


def test_without_energy_latency_takes_the_place_of_the_trade_off(page, pages):
    page.open(pages[1]["no energy"])
    shown = text(page)
    assert "Trade-off" not in shown
    assert "no energy" in shown
    assert "all on wiscad" in shown
    assert page.value("document.querySelectorAll('.rows .bar').length") >= 4


def test_names_are_shown_and_never_run(page, pages):
    page.open(pages[1]["hostile"])
    assert page.value("window.hacked") is None
    assert page.value("document.querySelectorAll('img').length") == 0
    assert studies.HOSTILE.replace("\x1b", "") in text(page).replace("\x1b", "")


def test_dark_and_light_follow_the_system(page, pages):
    colours = []
    for dark in (False, True):
        page.open(pages[1]["full"], dark=dark)
        colours.append(page.value("getComputedStyle(document.body).backgroundColor"))
    brightness = [sum(json.loads(colour.replace("rgb(", "[").replace(")", "]"))) for colour in colours]
    assert brightness[0] > 700 and brightness[1] < 120


def test_an_uncertain_plan_says_how_sure_it_is_and_what_to_measure(page, pages):
    study, paths = pages
    page.open(paths["full"], to=FIRST)
    panel = page.value("document.getElementById('panel').innerText")
    found = study.links[0].uncertainty
    assert percent(found.chosen.best_share) in panel
    assert "Worth measuring again" in panel
    for cell in found.measure_next:
        assert cell.bundle in panel
    assert page.value(f'document.querySelectorAll("{FRONTIER} .whisker").length') > 0


@pytest.mark.parametrize("width", [390, 1200])
def test_letters_and_names_in_the_trade_off_do_not_cover_each_other(page, pages, width):
    page.open(pages[1]["full"], width=width)
    everything = "[...document.querySelectorAll('.choice button')].find((b) => b.innerText === 'everything')"
    for tab, wide in itertools.product(range(3), (False, True)):
        page.click("[role=tab]", tab)
        if wide:
            page.value(f"{everything}?.click()")
            page.settle()
        boxes = page.value(
            f'[...document.querySelectorAll("{FRONTIER} .box, {FRONTIER} .halo")]'
            ".map((mark) => mark.getBoundingClientRect()).map((b) => [b.left, b.top, b.right, b.bottom])"
        )
        assert len(boxes) >= 2
        for one, other in itertools.combinations(boxes, 2):
            across, down = (min(one[k + 2], other[k + 2]) - max(one[k], other[k]) for k in (0, 1))
            assert across <= 1 or down <= 3


MAP = "svg[aria-label*='Best plan by']"


def test_the_map_tells_the_best_plan_of_each_range_by_mouse_and_keys(page, pages):
    study, paths = pages
    page.open(paths["full"])
    page.click("[role=tab]", 2)
    best = study.links[2].maps[0]
    regions = list(reversed(best.regions))  # drawn from the slowest link on
    shown = f'document.querySelector("{MAP}").closest("section")'
    assert page.value(f'document.querySelectorAll("{MAP} .even").length') == len(regions) - 1
    assert page.value(f'document.querySelectorAll("{MAP} .here").length') == 1
    for end in best.break_evens:
        assert quantity(best.link.upload_bit_s / float(end), "bit/s") in page.value(f"{shown}.innerText")
    page.value(f'document.querySelector("{MAP}").focus()')
    for region in regions:
        page.press("ArrowRight")
        readout = page.value(f'{shown}.querySelector(".readout").innerText')
        for device in {study.links[2].problem.devices[choice.device].name for choice in region.choices}:
            assert f"on {device}" in readout
    page.hover(*page.middle(f"{MAP} .cell"))
    assert "up to" in page.value(f'{shown}.querySelector(".readout").innerText')


def test_the_map_is_there_for_the_round_trip_too(page, pages):
    page.open(pages[1]["full"])
    names = page.value("[...document.querySelectorAll('.choice button')].map((button) => button.innerText)")
    page.click(".choice button", names.index("round trip"))
    assert page.value(f'document.querySelector("{MAP}").getAttribute("aria-label")').startswith(
        "Best plan by round trip"
    )


def test_colours_of_the_map_have_a_texture_where_times_are_not_measured(page, tmp_path):
    for origin in ORIGINS:
        page.open(write(studies.study("WiFi", origin=origin), tmp_path, origin))
        drawn = f"[...document.querySelectorAll(\"{MAP} .v0 + .texture\")].filter((path) => path.getAttribute('d'))"
        assert (page.value(f"{drawn}.length") > 0) == (origin != "measured")
        assert page.value(f"{drawn}.every((path) => path.classList.contains('{origin}'))")


def test_margins_and_limits_are_explained(page, tmp_path):
    study = studies.limited(Limits(latency_s=1.0))
    page.open(write(study, tmp_path, "limited"))
    shown = text(page)
    found = study.links[0].explanation
    assert "Why this plan" in shown
    for rival in found.rivals:
        assert quantity(rival.margin, "s") in shown
        assert ("✓ sure" if rival.sure else "! within") in shown
    slack = found.slacks[0]
    assert f"latency\t1.00 s\t{quantity(slack.used, 's')}\t{quantity(slack.slack, 's')}" in shown


def test_a_rival_that_is_second_best_and_placed_otherwise_stands_there_once(page, tmp_path):
    study = studies.study("WiFi")
    link = study.links[0]
    second = link.explanation.rivals[0]
    rivals = (second, replace(second, what="placement"))
    link = replace(link, explanation=replace(link.explanation, rivals=rivals))
    page.open(write(replace(study, links=(link,)), tmp_path, "one_rival"))
    assert "second best plan" in text(page)
    assert "best with another placement" not in text(page)


def test_limits_that_hold_with_a_probability_say_how(page, tmp_path):
    study = studies.limited(Limits(latency_s=1.0), confidence=0.95)
    page.open(write(study, tmp_path, "confident"))
    held = study.links[0].held[0]
    assert "Limits that hold with a probability" in text(page)
    assert f"latency\t1.00 s\t{quantity(held.mean, 's')}" in text(page)


def test_what_could_not_be_found_out_is_said(page, tmp_path):
    study = studies.study("WiFi", goal="throughput")
    assert study.links[0].notes
    page.open(write(study, tmp_path, "pipeline"))
    assert study.links[0].notes[0] in text(page)


def test_a_chain_of_many_layers_and_one_of_a_single_layer_are_drawn(page, tmp_path):
    for count in (1, 60):
        problem = synthetic.large_problem(count, 2, frequencies=2)
        chain = synthetic.long_chain(count)
        profiles = [synthetic.profile(chain, "d0", synthetic.TWELVE_HZ[:2], runs=2), synthetic.server(chain, "d1")]
        study = make_study(profiles, "WiFi")
        assert len(study.links[0].problem.layers) == len(problem.layers)
        page.open(write(study, tmp_path, f"chain{count}"), width=390, height=844, phone=True)
        assert page.complaints == []
        assert page.value("document.documentElement.scrollWidth") == 390


def test_a_plan_that_is_not_proven_is_marked(page, tmp_path):
    study = studies.study("WiFi")
    link = study.links[0]
    certificate = Certificate("feasible", "highs", "HiGHS 1", unconfirmed="no licence")
    link = replace(link, plan=replace(link.plan, certificate=certificate))
    page.open(write(replace(study, links=(link,)), tmp_path, "unproven"))
    unfold(page)
    assert page.value("document.querySelectorAll('.proof .yes').length") == 0
    assert "not confirmed: no licence" in text(page)


CUT = """[...document.querySelectorAll('svg text')].filter((text) => {
  const [a, b] = [text.getBoundingClientRect(), text.ownerSVGElement.getBoundingClientRect()];
  return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
}).map((text) => text.textContent)"""
COVERED = """[...document.querySelectorAll('svg')].flatMap((svg) => {
  const boxes = [...svg.querySelectorAll('text')].map((text) => [text.textContent, text.getBoundingClientRect()]);
  const across = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const down = (a, b) => Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return boxes.flatMap(([name, a], at) => boxes.slice(at + 1).filter(([, b]) => across(a, b) > 2 && down(a, b) > 4)
    .map(([other]) => `${name} / ${other}`));
})"""


@pytest.fixture(scope="module")
def crowded(tmp_path_factory):
    """ViT with twelve clocks: long names, and a frontier of hundreds of points."""
    edge = replace(synthetic.profile(synthetic.VIT, runs=5), origin="measured")
    study = make_study([edge, synthetic.server(synthetic.VIT)], "3G,4G,WiFi", limits=Limits(rule="free"))
    return study, write(study, tmp_path_factory.mktemp("crowded"), "crowded")


NARROW_TO_WIDE = [pytest.param(width, marks=pytest.mark.slow) for width in (360, 768, 1100)] + [390, 1600]


@pytest.mark.parametrize("width", NARROW_TO_WIDE)
def test_no_text_of_a_plot_is_cut_or_covers_another(page, pages, crowded, width):
    for path in (pages[1]["full"], crowded[1]):
        page.open(path, width=width, phone=width < 500)
        for tab in range(3):
            page.value(f"document.querySelectorAll('[role=tab]')[{tab}].click()")
            unfold(page)
            page.settle()
            assert page.value("document.querySelectorAll('svg text').length") > 20
            assert page.value(CUT) == []
            assert page.value(COVERED) == []


def test_the_chosen_plan_and_the_link_s_own_range_are_told_before_anybody_points(page, pages):
    study, paths = pages
    page.open(paths["full"], to=FIRST)
    link = study.links[0]
    shown = page.value(READOUT)
    assert "the chosen plan" in shown and quantity(link.plan.energy_j, "J") in shown
    assert page.value(f'document.querySelectorAll("{FRONTIER} .cross").length') == 0
    best = link.maps[0]
    value = best.chosen.constant + best.chosen.slope * best.here
    readout = page.value(f'document.querySelector("{MAP}").closest("section").querySelector(".readout").innerText')
    assert f"up to {quantity(best.link.upload_bit_s / float(best.chosen.low), 'bit/s')}" in readout
    assert quantity(float(value), "s") in readout


def test_in_a_crowd_only_the_picked_point_has_a_clear_interval(page, crowded):
    study, path = crowded
    assert len(study.links[0].frontier) > 30
    page.open(path, to=FIRST)
    page.value(f'document.querySelector("{FRONTIER}").focus()')
    count = f'document.querySelectorAll("{FRONTIER} .whisker.{{}}").length'
    for _ in range(len(study.links[0].frontier)):  # a point whose interval would not hold has none, and is passed over
        page.press("ArrowRight")
        if page.value(count.format("picked")):
            break
        assert "Interval: " not in page.value(READOUT)
    assert page.value(count.format("faint")) > 30
    assert page.value(count.format("picked")) == 1
    assert "Interval: " in page.value(READOUT)


def test_what_is_odd_in_a_table_stands_under_its_head(page, tmp_path):
    edge = replace(
        synthetic.profile(synthetic.ALEXNET, runs=3, frequencies_hz=(100,)), warnings=("row 3 took <b>900 s</b>",)
    )
    study = make_study([edge, synthetic.server(synthetic.ALEXNET)], "WiFi", replicates=0)
    page.open(write(study, tmp_path, "odd"))
    assert page.value("document.querySelector('header .warning').textContent") == "Warning: row 3 took <b>900 s</b>"
