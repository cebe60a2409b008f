"""Plans: their text, their file, the independent check, and what another solver says of them."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from dime.contract.bundles import Bundle
from dime.contract.errors import InputError, TableError
from dime.host.planning.certificate import Certificate
from dime.host.planning.goals import Limits
from dime.host.planning.plan import check, describe, read_plan
from dime.host.planning.problem import Choice
from dime.host.planning.solution import make_plan
from dime.host.search import solvers
from dime.host.search.cross_check import confirm
from dime.host.search.solvers import gurobi, highs, solve
from dime.testing import synthetic


@pytest.fixture(scope="module")
def problem():
    return synthetic.problem(synthetic.ALEXNET)


@pytest.fixture(scope="module")
def plan(problem):
    return make_plan(problem, solve(problem))


def test_the_text_says_bundles_costs_and_how_sure_it_is(plan):
    lines = str(plan).splitlines()
    assert lines[-1] == "    optimal, proven by exact 0.1.0"
    energy = next(at for at, line in enumerate(lines) if line.startswith("    energy: "))
    assert " radio " in lines[energy]
    assert all(line.endswith("): 1.0") for line in lines[: energy - 1])
    told = " ".join(" ".join(lines[-4:-1]).split())
    named = "copies of nano, copies of wiscad, radio states of 4G, overhead of every device, encoding of the"
    assert f"without waiting of nano, {named}" in told


@pytest.mark.parametrize(
    ("goal", "line"), [("throughput", "slowest stage: "), ("weighted:1,2", "weighted sum: "), ("energy", "energy: ")]
)
def test_the_text_names_the_goal_s_value(goal, line):
    problem = synthetic.problem(synthetic.ALEXNET, goal=goal)
    assert line in str(make_plan(problem, solve(problem)))


def test_labels_tell_modelled_from_measured(plan):
    assert {step.origin for step in plan.steps} == {"modelled"}


def test_a_file_gives_the_same_plan_back(plan, problem, tmp_path):
    path = tmp_path / "plan.json"
    plan.write(path)
    again = read_plan(path)
    assert again == plan
    check(problem, again)
    with pytest.raises(InputError, match="exists already; nothing was overwritten"):
        plan.write(path)
    with pytest.raises(InputError, match="No such file"):
        plan.write(tmp_path / "nowhere" / "plan.json")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"steps": 1}', "not json"])
def test_damaged_files(text, tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(text)
    with pytest.raises(TableError, match=r"plan\.json is damaged"):
        read_plan(path)
    with pytest.raises(TableError, match="No such file"):
        read_plan(tmp_path / "none.json")


class TestCheck:
    @pytest.mark.parametrize("name", ["latency_s", "computation_s", "energy_j", "radio_j", "period_s", "value"])
    def test_a_wrong_sum(self, plan, problem, name):
        wrong = replace(plan, **{name: getattr(plan, name) + 1e-6})
        with pytest.raises(InputError, match=name):
            check(problem, wrong)

    def test_a_wrong_step(self, plan, problem):
        step = replace(plan.steps[0], latency_s=plan.steps[0].latency_s / 2)
        with pytest.raises(InputError, match="steps, transfers or terms"):
            check(problem, replace(plan, steps=(step, *plan.steps[1:])))

    def test_a_missing_step(self, plan, problem):
        with pytest.raises(InputError, match="each layer exactly once"):
            check(problem, replace(plan, steps=plan.steps[1:]))

    def test_an_option_that_does_not_exist(self, plan, problem):
        with pytest.raises(InputError, match="has no bundle"):
            check(problem, replace(plan, steps=(replace(plan.steps[0], frequency_hz=1), *plan.steps[1:])))

    def test_another_device(self, plan, problem):
        with pytest.raises(InputError, match="the plan uses moon"):
            check(problem, replace(plan, steps=(replace(plan.steps[0], device="moon"), *plan.steps[1:])))

    def test_a_bound_above_the_value(self, plan, problem):
        with pytest.raises(InputError, match="better than its bound"):
            check(problem, replace(plan, certificate=replace(plan.certificate, bound=plan.value * 2)))

    @pytest.mark.parametrize(
        ("limits", "what"),
        [
            (Limits(latency_s=1e-3, rule="free"), "latency"),
            (Limits(energy_j=1e-3, rule="free"), "energy"),
            (Limits(private_layers=8, rule="free"), "is not allowed"),
            (Limits(max_bundle=1, rule="free"), "is not allowed"),
            (Limits(frequencies_hz={"nano": (synthetic.TWELVE_HZ[0],)}, rule="free"), "is not allowed"),
            (Limits(memory_bytes={"nano": 5}, rule="free"), "bytes"),
            (Limits(rule="published"), "bundles"),
            (Limits(rule="merged"), "back to back"),
        ],
    )
    def test_every_limit(self, limits, what):
        problem = synthetic.problem(synthetic.ALEXNET, layer_bytes=[1] * 8)
        top = synthetic.TWELVE_HZ[-1]
        parts = (Choice(Bundle(0, 4), 0, top), Choice(Bundle(5, 6), 0, top), Choice(Bundle(7, 7), 1, -1))
        plan = describe(problem, parts)
        check(problem, plan)
        with pytest.raises(InputError, match=f"breaks a limit: .*{what}"):
            check(problem.with_limits(limits), plan)

    def test_two_stages_of_a_pipeline_on_one_device(self):
        problem = synthetic.problem(synthetic.ALEXNET)
        top = synthetic.TWELVE_HZ[-1]
        plan = describe(
            problem, (Choice(Bundle(0, 0), 0, top), Choice(Bundle(1, 1), 1, -1), Choice(Bundle(2, 7), 0, top))
        )
        check(problem, plan)
        with pytest.raises(InputError, match="two stages"):
            check(problem.with_goal("throughput"), replace(plan, goal="throughput", value=plan.period_s))


class TestConfirm:
    def test_gurobi_confirms(self, problem):
        if gurobi.available():
            pytest.skip(gurobi.available())
        assert confirm(problem, solve(problem)).confirmation == f"confirmed by {gurobi.version()}"

    def test_highs_confirms(self, problem):
        assert confirm(problem, solve(problem), "highs").confirmation == f"confirmed by {highs.version()}"

    def test_one_that_cannot_take_it_says_why(self, problem):
        assert confirm(problem, solve(problem), "brute_force").unconfirmed.startswith("brute_force would look at")

    def test_a_wrong_optimum_is_contradicted(self, problem):
        solution = solve(problem)
        wrong = replace(solution, objective=solution.objective * 2, bound=solution.bound * 2)
        with pytest.raises(InputError, match="contradicts"):
            confirm(problem, wrong, "highs")

    def test_what_is_not_proven_is_not_confirmed(self, problem):
        solution = replace(solve(problem), status="feasible")
        assert confirm(problem, solution, "highs").unconfirmed.startswith("exact")


class TestProof:
    def test_what_time_cut_off_is_never_called_optimal(self, problem):
        solution = solve(problem)
        cut = replace(solution, status="feasible", bound=solution.objective * 0.9)
        assert "best known" in str(make_plan(problem, cut).certificate) and "gap 10.00%" in str(
            make_plan(problem, cut).certificate
        )
        assert "optimal" not in str(make_plan(problem, cut).certificate)
        assert "no bound" in str(make_plan(problem, replace(cut, bound=None)).certificate)

    def test_within_a_gap(self, problem):
        solution = solve(problem)
        assert "within 10.00% of" in str(
            make_plan(problem, replace(solution, bound=solution.objective * 0.9)).certificate
        )


class TestLicence:
    """A licence that is too small, missing or broken is one clear line, never a failure."""

    def test_too_small(self):
        if gurobi.available() or not gurobi._size_limited():
            pytest.skip("gurobi has no licence, or a full one")
        problem = synthetic.large_problem(30, 3)
        assert "licence takes 2000" in gurobi.refuses(problem)
        solution = solve(problem, "gurobi")
        assert solution.status == "optimal" and "licence takes 2000" in solution.note
        assert "licence takes 2000" in confirm(problem, solution).unconfirmed

    def test_broken(self, problem, tmp_path):
        """In a process of its own: a licence is looked for once."""
        licence = tmp_path / "gurobi.lic"
        licence.write_text("TYPE=BROKEN\n")
        code = (
            "from dime.testing import synthetic; from dime.host.search.solvers import solve;"
            "from dime.host.search.cross_check import confirm;"
            "p = synthetic.problem(synthetic.ALEXNET); s = solve(p, 'gurobi');"
            "print(s.solver, '|', s.note, '|', confirm(p, s).confirmation)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "GRB_LICENSE_FILE": str(licence)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.startswith("exact | gurobi has no usable licence (")
        assert "| not confirmed: gurobi has no usable licence (" in done.stdout
        assert done.stdout.count("\n") == 1 and not done.stderr

    def test_a_web_services_licence_comes_by_environment_and_its_secret_is_not_told(self, monkeypatch):
        import gurobipy

        asked = []

        def refuse(params):
            asked.append(params)
            raise gurobipy.GurobiError(10009, "token not granted")

        for variable, word in zip(gurobi.WLS, ("an-id", "a-secret", "123"), strict=True):
            monkeypatch.setenv(variable, word)
        monkeypatch.setattr(gurobipy, "Env", refuse)
        for cached in (gurobi._environment, gurobi.available):
            cached.cache_clear()
        try:
            reason = gurobi.available()
        finally:
            for cached in (gurobi._environment, gurobi.available):
                cached.cache_clear()
        assert (asked[0]["WLSAccessID"], asked[0]["WLSSecret"], asked[0]["LicenseID"]) == ("an-id", "a-secret", 123)
        assert "token not granted" in reason and "a-secret" not in reason


class TestWriteLp:
    def test_another_program_reads_it_and_finds_the_same(self, problem, tmp_path):
        import highspy

        path = tmp_path / "plan.lp"
        solvers.write_lp(problem, path)
        assert "bundle_0_4_nano_691200000" in path.read_text()
        model = highspy.Highs()
        model.setOptionValue("output_flag", False)
        model.readModel(str(path))
        model.run()
        chosen = {
            name
            for name, value in zip(model.getLp().col_names_, model.getSolution().col_value, strict=True)
            if value > 0.5 and name.startswith("bundle_")
        }
        expected = solve(problem).choices
        assert len(chosen) == len(expected)
        assert all(f"bundle_{c.bundle.first}_{c.bundle.last}_" in " ".join(chosen) for c in expected)

    def test_refusals(self, problem, tmp_path):
        (tmp_path / "there.lp").write_text("")
        with pytest.raises(InputError, match="exists already"):
            solvers.write_lp(problem, tmp_path / "there.lp")
        with pytest.raises(InputError, match=r"must end in \.lp"):
            solvers.write_lp(problem, tmp_path / "plan.txt")
        with pytest.raises(InputError, match="No such file"):
            solvers.write_lp(problem, tmp_path / "nowhere" / "plan.lp")

    def test_names_of_devices_that_an_lp_file_cannot_hold(self, tmp_path):
        problem = synthetic.problem(synthetic.ALEXNET)
        named = replace(problem, devices=(replace(problem.devices[0], name="my nano-2"), problem.devices[1]))
        solvers.write_lp(named, tmp_path / "plan.lp")
        assert "_device0_" in (tmp_path / "plan.lp").read_text()


def test_plan_json_is_plain(plan, tmp_path):
    plan.write(tmp_path / "plan.json")
    content = json.loads((tmp_path / "plan.json").read_text())
    assert content["steps"][0]["device"] == "nano" and content["latency_s"] == plan.latency_s


class TestCertificates:
    """The sentence of a certificate, and the sentences of earlier versions, say the same."""

    @pytest.mark.parametrize(
        "certificate",
        [
            Certificate("optimal", "exact", "exact 0.1.0", 1.0, 1.0),
            Certificate("optimal", "highs", "HiGHS 1.7", 1.0, 0.9),
            Certificate("feasible", "exact", "exact 0.1.0", 1.0, 0.9, note="no licence; solved by exact"),
            Certificate("feasible", "highs", "highs 1", 1.0),
            Certificate("undominated", "exact", "exact 0.1.0", 1.0, complete=True),
            Certificate("undominated", "exact", "exact 0.1.0", 1.0, complete=False),
            Certificate("optimal", "exact", "exact", 1.0, chance=0.95),
            Certificate("given", objective=1.0, note="keeps all limits"),
        ],
    )
    def test_a_plan_of_the_first_version_is_read(self, tmp_path, certificate):
        problem = synthetic.problem(synthetic.ALEXNET)
        plan = replace(make_plan(problem, solve(problem)), certificate=certificate)
        plan.write(tmp_path / "new.json")
        assert read_plan(tmp_path / "new.json") == plan
        fields = json.loads((tmp_path / "new.json").read_text())
        del fields["schema"], fields["version"], fields["certificate"]
        fields |= {"proof": str(certificate), "solver": certificate.version, "bound": certificate.bound, "value": 1.0}
        (tmp_path / "old.json").write_text(json.dumps(fields))
        read = read_plan(tmp_path / "old.json").certificate
        assert str(read) == str(certificate)
        assert (read.status, read.solver, read.chance) == (certificate.status, certificate.solver, certificate.chance)

    def test_the_same_plan_is_the_same_file_however_long_it_took(self, problem, tmp_path):
        solution = solve(problem)
        for name, seconds in (("a", 0.1), ("b", 7.0)):
            make_plan(problem, replace(solution, seconds=seconds)).write(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_a_plan_of_a_later_version_is_refused(self, tmp_path):
        problem = synthetic.problem(synthetic.ALEXNET)
        make_plan(problem, solve(problem)).write(tmp_path / "plan.json")
        text = (tmp_path / "plan.json").read_text().replace('"version": 4', '"version": 5', 1)
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(TableError, match=r"plan\.json was written by a later version of DIME"):
            read_plan(tmp_path / "plan.json")


def test_a_plan_is_for_a_batch_and_says_what_one_of_it_costs(plan, problem, tmp_path):
    of_eight = replace(problem, batch=8)
    batched = replace(plan, batch=8)
    check(of_eight, batched)
    assert f"per picture of the batch of 8: latency {plan.latency_s / 8:.6g} s   energy" in str(batched)
    assert "picture" not in str(plan)
    batched.write(tmp_path / "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text())["per_picture"]["latency_s"] == plan.latency_s / 8
    assert read_plan(tmp_path / "plan.json") == batched
    with pytest.raises(InputError, match="batch of 8, the problem of 1"):
        check(problem, batched)


def test_plans_from_before_batches_are_of_one(plan, tmp_path):
    plan.write(tmp_path / "new.json")
    said = json.loads((tmp_path / "new.json").read_text())
    del said["batch"], said["per_picture"]
    (tmp_path / "old.json").write_text(json.dumps(said))
    assert read_plan(tmp_path / "old.json") == plan
    (tmp_path / "odd.json").write_text(json.dumps({**said, "batch": "many"}))
    with pytest.raises(TableError, match="batch is not a number"):
        read_plan(tmp_path / "odd.json")


def test_profiles_of_two_batches_are_not_planned_together():
    from dime.host.planning.formulation import build_problem
    from tests.host import small

    edge, server = small.profiles(3, 2, 0)
    with pytest.raises(InputError, match="is of a batch of 4"):
        build_problem([edge, replace(server, batch=4)], small.LINK)
    made = build_problem([replace(one, batch=4) for one in (edge, server)], small.LINK, sizes_bytes=[8, 8, 8, 80])
    assert made.batch == 4
    assert made.sizes_bytes[-1] == 4 * 4  # a class for each
