"""What was typed is checked and typed before anything runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dime.contract.errors import InputError
from dime.host.cli.arguments import parse

ran = []


def plan(net: str, runs: int = 20, limit: float | None = None, quick: bool = False) -> None:
    """Plans.

    Examples:
        dime plan --net=vgg11 --runs=5
    """
    ran.append((net, runs, limit, quick))


COMMANDS = {"plan": plan, "power": {"log": plan}}


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


def run(*arguments):
    call = parse(COMMANDS, arguments, "dime")
    assert not ran, "parsing alone must not run the command"
    call.run()
    return ran[-1]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["plan", "--net=vgg11"], ("vgg11", 20, None, False)),
        (["plan", "vgg11", "--runs", "5"], ("vgg11", 5, None, False)),
        (["plan", "-n", "vgg11", "-r=5"], ("vgg11", 5, None, False)),
        (["plan", "--net", "vgg11", "--limit=0.5", "--quick"], ("vgg11", 20, 0.5, True)),
        (["plan", "--net=vgg11", "--quick=false"], ("vgg11", 20, None, False)),
        (["power", "log", "--net='1_000 \"x"], ("'1_000 \"x", 20, None, False)),
        (["plan", "--net=vgg11", "--limit", "-1"], ("vgg11", 20, -1.0, False)),
    ],
)
def test_arguments_arrive_as_their_types(arguments, expected):
    assert run(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plna"], "unknown command 'plna'; known: plan, power"),
        (["plan", "--nett=vgg11"], "unknown option '--nett'; known: --limit, --net, --quick, --runs"),
        (["plan", "-x", "vgg11"], "unknown option '-x'"),
        (["plan"], "--net is missing"),
        (["plan", "--net=a", "--net=b"], "--net is given twice"),
        (["plan", "a", "5", "0.1", "true", "more"], "'more' is one argument too many"),
        (["plan", "--net=a", "--runs=many"], "--runs: 'many' is not a whole number"),
        (["plan", "--net=a", "--runs=1_000"], "--runs: '1_000' is not a whole number"),
        (["plan", "--net=a", "--runs"], "--runs needs a value"),
        (["plan", "--net=a", "--quick=perhaps"], "--quick: 'perhaps' is neither true nor false"),
        (["power"], "'power' needs one of: log"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_has_run(arguments, message):
    with pytest.raises(InputError) as caught:
        parse(COMMANDS, arguments, "dime")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ran


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["plan", "--help"], ["power", "--help"], ["plan", "--net=x", "-h"]]
)
def test_help_runs_nothing(arguments, capsys):
    assert parse(COMMANDS, arguments, "dime") is None
    assert not ran
    printed = capsys.readouterr()
    assert "dime" in printed.out and not printed.err


def test_help_shows_the_example(capsys):
    parse(COMMANDS, ["plan", "--help"], "dime")
    printed = capsys.readouterr()
    assert "dime plan --net=vgg11 --runs=5" in printed.out


@given(st.lists(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8), max_size=5))
def test_any_words_give_a_call_help_or_an_input_error(words):
    try:
        parse(COMMANDS, words, "dime")
    except InputError as error:
        assert "\n" not in str(error)
    assert not ran
