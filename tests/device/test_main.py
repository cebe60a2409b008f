"""``python -m dime.device`` as the host starts it: messages on standard output, exit codes, signals, sudden death."""

import os
import re
import shutil
import signal
from collections import Counter

import pytest

from dime.contract import messages, tables
from dime.contract.errors import TableError
from dime.contract.run import TIMINGS, RunSpec
from dime.device import __main__, boards
from dime.testing import board_trees
from dime.testing.board_trees import GPU, RAIL_GATE, get, state
from tests.device.conftest import device, finish, start

QUICK = ["--network=resnet18", "--max-layers=1", "--iterations=1", "--runs=2", "--warmups=0", "--threads=1"]


def error_of(result):
    code, heard = result
    assert code == 1
    assert heard[-1]["kind"] == "error"
    assert "\n" not in heard[-1]["text"]
    return heard[-1]["text"]


def wait_for_progress(process, done):
    """Reads a process's messages until so much is done; returns them."""
    heard = []
    for line in process.stdout:
        heard.append(messages.decode(line))
        if heard[-1]["kind"] == "progress" and heard[-1]["done"] >= done:
            return heard
    raise AssertionError("ended early: {} {}".format(heard, process.stderr.read()))


def test_a_profile_from_feature_maps_to_the_table(resnet18_samples, tmp_path):
    code, heard = device("profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--device=edge", *QUICK)
    assert code == 0
    kinds = [message["kind"] for message in heard]
    assert kinds == ["hello"] + ["progress"] * 10 + ["note", "done"]
    assert heard[0]["total"] == heard[10]["done"] == 10
    assert heard[-1]["folder"] == str(tmp_path / "out")
    assert len(tables.read(str(tmp_path / "out" / TIMINGS), tables.TIMINGS)) == 20
    spec = RunSpec.read(str(tmp_path / "out"))
    assert (spec.weights, spec.device, spec.threads) == ("seeded 0", "edge", 1)
    assert "profile" in spec.command_line


@pytest.mark.slow
def test_a_run_that_is_killed_outright_goes_on_where_it_stopped(resnet18_samples, tmp_path):
    words = ["profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--network=resnet18"]
    words += ["--max-layers=2", "--iterations=2", "--runs=5", "--threads=1"]
    process = start(*words)
    wait_for_progress(process, 5)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    path = str(tmp_path / "out" / TIMINGS)
    with open(path, "a") as stream:
        stream.write("conv1,conv1,conv1,-1,1,0,fe")
    code, heard = device(*words)
    assert code == 0
    resumed = int(heard[0]["text"].split()[1])
    assert heard[0]["kind"] == "note" and resumed >= 5 * 5 and resumed % 5 == 0
    first = next(message for message in heard if message["kind"] == "progress")
    assert first["done"] == resumed // 5 + 1
    rows = tables.read(path, tables.TIMINGS)
    assert Counter((row["bundle"], row["iteration"]) for row in rows) == Counter(
        {key: 5 for key in {(row["bundle"], iteration) for row in rows for iteration in (0, 1)}}
    )
    assert len(rows) == 19 * 2 * 5
    assert "complete; nothing was overwritten" in error_of(device(*words))


def test_a_run_that_is_told_to_stop_puts_the_clocks_back_and_goes_on_later(resnet18_samples, tmp_path):
    tree = board_trees.plain(tmp_path / "tree")
    before = state(tree)
    words = ["profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--device=nano", "--root", tree]
    words += ["--frequencies=76800000,921600000", "--network=resnet18", "--max-layers=1", "--runs=5", "--iterations=3"]
    process = start(*words)
    wait_for_progress(process, 3)
    assert get(tree, GPU + "/max_freq") == get(tree, GPU + "/min_freq") == "76800000"
    assert get(tree, RAIL_GATE) == "0"
    assert (tmp_path / "out" / boards.LEDGER).exists()
    process.terminate()
    code, heard = finish(process)
    assert code == 143
    assert heard[-1] == {"kind": "warning", "text": "stopped; the same command goes on from here"}
    assert state(tree) == before
    assert not (tmp_path / "out" / boards.LEDGER).exists()
    assert RunSpec.read(str(tmp_path / "out")).state == "running"
    code, heard = device(*words)
    assert code == 0
    assert len(tables.read(str(tmp_path / "out" / TIMINGS), tables.TIMINGS)) == 10 * 5 * 3 * 2
    assert state(tree) == before


def test_clocks_that_a_killed_run_left_are_put_back(resnet18_samples, tmp_path):
    tree = board_trees.plain(tmp_path / "tree")
    before = state(tree)
    words = ["profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--device=nano", "--root", tree]
    words += ["--frequencies=76800000", "--network=resnet18", "--max-layers=1", "--runs=20", "--iterations=3"]
    process = start(*words)
    wait_for_progress(process, 2)
    process.kill()
    process.communicate()
    assert get(tree, GPU + "/max_freq") == "76800000"
    code, heard = device("restore", "--out", tmp_path / "out")
    assert (code, heard[0]["text"]) == (0, "clocks were put back")
    assert state(tree) == before
    assert device("restore", "--out", tmp_path / "out")[1][0]["text"] == "no run left a clock fixed here"


def test_a_run_whose_listener_is_gone_ends(resnet18_samples, tmp_path):
    process = start("profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--network=resnet18")
    wait_for_progress(process, 1)
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait(60) == 143
    assert "Traceback" not in err and "Error" not in err
    assert RunSpec.read(str(tmp_path / "out")).state == "running"


def test_two_runs_into_one_folder_at_once(resnet18_samples, tmp_path):
    words = ["profile", "--samples", resnet18_samples, "--out", tmp_path / "out", "--network=resnet18"]
    process = start(*words)
    try:
        wait_for_progress(process, 1)
        assert "is being written to by another process" in error_of(device(*words))
    finally:
        process.kill()
        process.communicate()


def here(heard, *words):
    """Runs a verb in this process, which has torch loaded already."""
    options = __main__._parser().parse_args([str(word) for word in words])
    options.verb(options, heard)


def test_it_describes_the_machine(heard):
    here(heard, "describe")
    (facts,) = [fields["facts"] for kind, fields in heard if kind == "description"]
    assert facts["board"] == "generic" and facts["processor"] in ("cpu", "cuda")
    assert facts["versions"]["torch"] and facts["memory_bytes"] > 0


@pytest.fixture
def torchless(tmp_path):
    """A place on Python's path where torch is broken as by a missing library."""
    (tmp_path / "broken" / "torch").mkdir(parents=True)
    (tmp_path / "broken" / "torch" / "__init__.py").write_text(
        "raise OSError('libgomp.so: cannot open\\nshared object')"
    )
    return str(tmp_path / "broken")


def test_without_torch_it_says_so_in_one_line(tmp_path, torchless):
    words = ["--network=resnet18", "--samples", tmp_path / "samples"]
    for verb in (["samples"], ["profile", "--out", tmp_path / "out"]):
        text = error_of(device(*(verb + words), PYTHONPATH=torchless))
        assert "torch cannot be imported by" in text and "libgomp.so: cannot open shared object" in text
    code, heard = device("describe", PYTHONPATH=torchless)
    assert code == 0
    assert [message["kind"] for message in heard] == ["warning", "description"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "the following arguments are required: name"),
        (["profil"], "invalid choice: 'profil'.*profile"),
        (["samples"], "the following arguments are required: --network"),
        (["samples", "--network=lenet"], "unknown network 'lenet'; known: .*alexnet, .*vit_b_16"),
        (["samples", "--network=alexnet", "--source=x"], "source 'x': not a folder; known: builtin, imagenette"),
        (["samples", "--network=alexnet", "--colour=red"], "unrecognized arguments: --colour=red"),
        (["profile", "--network=lenet", "--out=x"], "unknown network 'lenet'"),
        (["profile", "--network=alexnet", "--out=x", "--board=tx2"], "unknown board 'tx2'; known: .*potato"),
        (["profile", "--network=alexnet", "--out=x", "--runs=many"], "argument --runs: invalid int value: 'many'"),
        (
            ["profile", "--network=alexnet", "--out=x", "--threads=99999999"],
            "threads is 99999999; .* at most .*each core",
        ),
        (["profile", "--network=alexnet", "--out=x", "--seed=" + "9" * 24], "seed is 9*; it must be at most"),
        (["profile", "--network=alexnet", "--out=x", "--most-iterations=0"], "most_iterations is 0; .* at least 1"),
        (["profile", "--network=alexnet", "--out=x", "--device=../../y"], "'../../y' is no plain name"),
        (["describe", "--device=a,b"], "'a,b' is no plain name"),
        (["profile", "--network=alexnet", "--out=x", "--frequencies=1,a"], "'1,a' is neither all nor whole numbers"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(words, message, tmp_path):
    before = os.listdir(str(tmp_path))
    text = error_of(device(*words))
    assert re.search(message, text), text
    assert os.listdir(str(tmp_path)) == before
    assert not os.path.exists("x")


def test_a_profile_without_feature_maps_says_how_to_make_them(tmp_path, heard):
    with pytest.raises(TableError, match="no feature maps of resnet18.*--samples {}".format(tmp_path)):
        here(heard, "profile", "--samples", tmp_path, "--out", tmp_path / "out", *QUICK)
    assert not (tmp_path / "out").exists()


def test_a_damaged_feature_map_is_named_before_anything_is_measured(resnet18_samples, tmp_path, heard):
    shutil.copytree(resnet18_samples, str(tmp_path / "samples"))
    (tmp_path / "samples" / "resnet18" / "block3" / "hills.pt").write_bytes(b"damaged")
    with pytest.raises(TableError, match="block3/hills.pt is damaged"):
        here(heard, "profile", "--samples", tmp_path / "samples", "--out", tmp_path / "out", *QUICK)
    assert not (tmp_path / "out").exists()
