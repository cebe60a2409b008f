"""What one sees first: a sentence for each link, then the map beside the frontier; addresses, tables, marks."""

from dataclasses import replace

import pytest

from dime.host.report import overview
from dime.host.report import page as report
from tests.host import example_studies as studies

pytestmark = pytest.mark.browser

OPEN = "document.querySelector('[aria-selected=true]').innerText"
HEADINGS = "[...document.querySelectorAll('#page h2')].map((node) => node.firstChild.textContent)"


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    study = studies.with_uncertainty(studies.study("3G,4G,WiFi", origin="measured"))
    path = tmp_path_factory.mktemp("front") / "report.html"
    report.write(study, path, "dime solve --net=alexnet")
    return study, path


def test_first_comes_a_sentence_for_each_link_with_its_certainty(page, full):
    study, path = full
    page.open(path)
    sentences = page.value("[...document.querySelectorAll('.answers li')].map((node) => node.innerText)")
    for link, said in zip(study.links, sentences, strict=True):
        sentence = " ".join(said.split())
        answer = overview.answer(link)
        plan, _, certainty = answer.partition("; sure") if "; sure" in answer else answer.partition("; not sure")
        assert sentence.startswith(f"{link.name} {plan}.")
        assert ("✓ sure" in said) == overview.is_sure(link)
        assert ("! not sure: another plan may be as good" in said) == (not overview.is_sure(link))
        assert certainty or overview.is_sure(link)
    assert "Percentages are of the latency of what is named after them." in page.value("document.body.innerText")


def test_then_the_map_beside_the_frontier_then_what_if_why_and_how_sure_and_the_rest_is_folded(page, full):
    page.open(full[1], width=1400)
    assert page.value(HEADINGS) == [
        *("What each link changes", "Which plan for which link", "Trade-off of latency and energy", "What if?"),
        *("Why this plan", "How sure this is", "The plan", "Against other ways to place the network"),
        *("Every link at a glance", "The bundle effect", "Where the numbers come from"),
    ]
    tops = page.value("[...document.querySelectorAll('.beside > section')].map((n) => n.getBoundingClientRect().top)")
    assert len(tops) == 2 and tops[0] == tops[1]
    folded = page.value("[...document.querySelectorAll('.folded > details')].map((node) => node.open)")
    assert folded == [False] * 5
    assert page.value("[...document.querySelectorAll('.contents a')].map((node) => node.textContent)") == page.value(
        HEADINGS
    )


def test_the_most_interesting_link_is_open_first_and_the_address_says_which(page, full):
    path = full[1]
    page.open(path)
    assert page.value(OPEN) == "WiFi"  # the only one that is split
    page.click("[role=tab]", 0)
    assert page.value("location.hash") == "#link=3G" and page.value(OPEN) == "3G"
    page.click(".answers button.to", 1)
    assert page.value("location.hash") == "#link=4G" and page.value(OPEN) == "4G"
    page.tab.go_back()
    page.settle()
    assert page.value(OPEN) == "3G"
    page.open(path, to="#link=4G")
    assert page.value(OPEN) == "4G"


def test_every_figure_has_an_address_and_what_is_folded_opens_there(page, full):
    page.open(full[1])
    links = page.value("[...document.querySelectorAll('.anchor')].map((node) => node.getAttribute('href'))")
    assert len(links) == len(page.value(HEADINGS)) == len(set(links))
    assert all(link.startswith("#link=WiFi&at=") for link in links)
    page.open(full[1], to="#link=3G&at=against-other-ways-to-place-the-network")
    page.settle()
    page.settle()
    assert page.value(OPEN) == "3G"
    seen = page.value("document.getElementById('against-other-ways-to-place-the-network').getBoundingClientRect().top")
    assert 0 <= seen < 900
    assert page.value("document.querySelector('#against-other-ways-to-place-the-network > details').open")


def test_one_or_two_trade_offs_are_a_sentence(page, tmp_path):
    study = studies.study("WiFi")
    link = study.links[0]
    front = link.frontier
    assert front is not None
    for count, said in ((1, "there is nothing to trade"), (2, "Two plans are the best trade-offs")):
        few = replace(front, time_ps=front.time_ps[:count], energy_pj=front.energy_pj[:count])
        path = tmp_path / f"{count}.html"
        report.write(replace(study, links=(replace(link, frontier=few),)), path)
        page.open(path)
        shown = page.value("document.getElementById('trade-off-of-latency-and-energy').innerText")
        assert said in shown
        assert page.value("document.querySelectorAll('#trade-off-of-latency-and-energy svg').length") == 0


def test_equal_ways_stand_in_one_row(page, full):
    study, path = full
    page.open(path, to="#link=3G&at=against-other-ways-to-place-the-network")
    link = study.links[0]
    different = {row.choices for row in link.baselines if row.choices is not None and not row.reason}
    assert page.value("document.querySelectorAll('.rows .who').length") == len(different)
    assert "the same plan: a all on nano" in page.value("document.querySelector('.rows').innerText")


def test_marks_of_origins_are_quiet_and_a_legend_names_them(page, full):
    page.open(full[1])
    legend = page.value("document.querySelector('.legend').innerText")
    assert "measured: this device, this run" in legend and "modelled: a formula" in legend
    assert "replayed" not in legend  # there is none
    marks = page.value("[...document.querySelectorAll('.origin')].map((node) => node.getAttribute('aria-label'))")
    assert {"time measured", "energy measured", "transfers modelled"} <= set(marks)
    assert page.value("document.querySelectorAll('.badge').length") == 0


def test_tables_sort_by_key_and_are_copied_as_csv(page, full):
    page.open(full[1])
    table = "[...document.querySelectorAll('table')].find((one) => one.innerText.includes('expected gain'))"
    gains = f"[...{table}.tBodies[0].rows].map((row) => amount(row.cells[4].innerText).number)"
    before = page.value(gains)
    assert len(before) > 2
    page.value(f"[...{table}.querySelectorAll('.sort')].at(-1).focus()")
    page.press("Enter")
    assert page.value(gains) == sorted(before)
    page.press("Enter")
    assert page.value(gains) == sorted(before, reverse=True)
    assert page.value(f"{table}.querySelectorAll('th')[4].getAttribute('aria-sort')") == "descending"
    page.value("void Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (t) => { copied = t; }}})")
    page.value("void (globalThis.copied = '')")
    page.value(f"{table}.parentNode.querySelector('.plain').click()")
    page.settle()
    head, first, *_ = page.value("copied").splitlines()
    assert head == "bundle,device,clock (Hz),chance to change the plan,expected gain (s)"
    assert float(first.split(",")[-1]) == max(before) and first.split(",")[2] == "922000000"


def test_amounts_are_read_with_their_units_for_sorting(page, full):
    page.open(full[1])
    numbers = {"147 ms": 0.147, "-997 µs": -0.000997, "34 %": 0.34, "922 MHz": 922e6, "12.5 times": 12.5, "3": 3}
    for text, number in {**numbers, "<0.1 %": 0.001, "18.9 Mbit/s": 18.9e6, "602 kB": 602e3, "1.2 mJ": 0.0012}.items():
        assert page.value(f"amount({text!r}).number") == pytest.approx(number)
    assert page.value("amount('conv1').number === undefined && amount('6.7 ms to 8 ms').number === undefined")


def test_the_page_stays_small(tmp_path):
    path = tmp_path / "report.html"
    report.write(studies.study("WiFi"), path)
    assert len(path.read_bytes()) < 130_000
