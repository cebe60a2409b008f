"""A study: what is found out for each link, and that its parts are about the same plan."""

import json

import pytest

from dime.contract.errors import InfeasibleError, OutOfTimeError, TableError
from dime.host.analysis import resampling, uncertainty
from dime.host.planning.goals import Limits
from dime.host.report import output
from dime.host.search import solvers
from dime.host.studies.study import find_profiles, find_sizes, make_study
from dime.testing import synthetic

CHAIN = synthetic.ALEXNET


@pytest.fixture(scope="module")
def profiles():
    return [synthetic.profile(CHAIN, frequencies_hz=synthetic.TWELVE_HZ[3::4], runs=8), synthetic.server(CHAIN)]


def test_all_links_share_one_draw_and_get_what_each_alone_would(profiles):
    found = make_study(profiles, "3G,WiFi", "energy", replicates=50)
    for link in found.links:
        assert len(link.uncertainty.samples) == 50
        plan = link.plan.choices(link.problem)
        alone = uncertainty.bootstrap(resampling.resample(link.problem, profiles, 50), [plan])
        chosen = link.uncertainty.chosen
        assert chosen.choices == plan
        assert (chosen.value, chosen.best_share) == (alone.chosen.value, alone.chosen.best_share)
        assert link.explanation.rivals[0].interval is not None


def test_every_drawn_plan_has_an_interval(profiles):
    link = make_study(profiles, "4G", limits=Limits(rule="free"), replicates=10).links[0]
    known = {plan.choices for plan in link.uncertainty.plans}
    assert {row.choices for row in link.baselines if row.choices} <= known
    assert {link.frontier.choices(at) for at in range(len(link.frontier))} <= known


def test_nothing_is_drawn_where_nothing_is_asked_for(profiles):
    link = make_study(profiles, "4G", replicates=0).links[0]
    assert link.uncertainty is None
    assert link.explanation.rivals[0].interval is None


def test_the_maps_go_through_the_links_own_place(profiles):
    link = make_study(profiles, "4G", replicates=0).links[0]
    assert [best.vary for best in link.maps] == ["bandwidth", "round_trip"]
    for best in link.maps:
        assert float(best.chosen.constant + best.chosen.slope * best.here) == pytest.approx(link.plan.value, abs=1e-11)
    assert link.notes == ()


def test_a_map_that_has_no_meaning_is_left_out_with_a_word(profiles):
    link = make_study(profiles, "4G", "throughput", replicates=0).links[0]
    assert link.maps == ()
    assert len(link.notes) == 1
    assert "the bandwidth and the round trip: the goal throughput" in link.notes[0]
    devices = [*profiles, synthetic.server(CHAIN, "hub")]
    pairs = "nano-wiscad: up=8,down=8,rtt=0.1; nano-hub: WiFi; wiscad-hub: none"
    link = make_study(devices, pairs, replicates=0).links[0]
    assert [best.vary for best in link.maps] == ["bandwidth"]
    assert link.notes == (
        "no map over the round trip: the links have different round trips; one knob for all of them has no place for"
        " them",
    )


def test_a_limit_that_holds_with_a_probability_is_kept_by_more_than_the_mean(profiles):
    fastest = make_study(profiles, "4G", replicates=0).links[0].plan.latency_s
    limits = Limits(latency_s=fastest * 1.3)
    mean = make_study(profiles, "4G", "energy", limits, replicates=0).links[0]
    sure = make_study(profiles, "4G", "energy", limits, replicates=0, confidence=0.99).links[0]
    assert sure.held[0].share >= 0.99
    assert sure.held[0].bound <= limits.latency_s * (1 + 1e-9)
    assert sure.plan.energy_j >= mean.plan.energy_j
    assert sure.explanation is None and mean.held == ()


def test_sizes_are_numbers_or_a_profile_that_has_them(tmp_path):
    assert find_sizes("alexnet", "1, 2,3", str(tmp_path)) == (1, 2, 3)
    for text in (",", "1,²", "9" * 5000, "x/" * 3000, "1," * 400 + "x", "\0"):
        with pytest.raises(TableError, match="no profile of alexnet on"):
            find_sizes("alexnet", text, str(tmp_path))
        with pytest.raises(TableError, match="no profile of alexnet on"):
            find_profiles("alexnet", text, "server", str(tmp_path))
    with pytest.raises(TableError, match="no profile of alexnet on 'nano'"):
        find_sizes("alexnet", "nano", str(tmp_path))


def test_a_limit_that_no_plan_keeps_names_the_link(profiles):
    with pytest.raises(InfeasibleError, match=r"^4G: no plan keeps the limit of latency <= 1e-06 s; possible .* 0\."):
        make_study(profiles, "4G,WiFi", limits=Limits(latency_s=1e-6), replicates=0)


def test_a_link_that_is_named_twice_is_planned_once(profiles):
    assert [link.name for link in make_study(profiles, "4G, WiFi,4G", replicates=0).links] == ["4G", "WiFi"]


def test_a_network_without_a_profile_lists_those_that_have_one(tmp_path):
    for name in ("vgg11", "resnet18"):
        (tmp_path / "edge" / name).mkdir(parents=True)
        (tmp_path / "edge" / name / "run.json").touch()
    with pytest.raises(TableError, match=r"of lenet on 'edge' .* there is none yet, only of resnet18, vgg11;"):
        find_profiles("lenet", "edge", "server", str(tmp_path))
    with pytest.raises(TableError, match=r"no profile of vgg11 on 'nano' .* there are: edge; make one"):
        find_profiles("vgg11", "nano", "server", str(tmp_path))


def test_a_link_without_a_plan_is_a_result_and_the_others_are_planned(profiles, tmp_path):
    best = {link.name: link.plan.latency_s for link in make_study(profiles, "3G,WiFi", replicates=0).links}
    assert best["WiFi"] < best["3G"]
    limits = Limits(latency_s=best["WiFi"] * 1.001)
    found = make_study(profiles, "3G,WiFi", limits=limits, replicates=0)
    assert [link.name for link in found.links] == ["WiFi"]
    assert [link.name for link in found.without_plan] == ["3G"]
    text = output.write(found, tmp_path / "study")
    assert "-- 3G ---" in text and "no plan, because no plan keeps the limit of latency" in " ".join(text.split())
    told = json.loads((tmp_path / "study/report.json").read_text())["data"]["without_plan"]
    assert told == [{"name": "3G", "reason": found.without_plan[0].reason}]


def test_time_that_runs_out_for_one_link_costs_no_other(profiles, monkeypatch):
    solve = solvers.solve

    def slow(problem, *arguments):
        if problem.links == "3G":
            raise OutOfTimeError("exact found no plan in 1 s; give it more time")
        return solve(problem, *arguments)

    monkeypatch.setattr(solvers, "solve", slow)
    found = make_study(profiles, "3G,WiFi", replicates=0)
    assert [link.name for link in found.links] == ["WiFi"]
    assert "more time" in found.without_plan[0].reason
