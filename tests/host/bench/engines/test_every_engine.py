"""Both kinds of engine are one to whoever runs a session on them."""

import json
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dime.contract import messages
from dime.contract.errors import DeviceError
from dime.host.bench import engines, fleet
from dime.host.bench.connection import Wishes
from dime.host.bench.engines import docker, process
from dime.host.bench.lab import LabDevice
from dime.host.bench.session.session import Session
from dime.host.bench.session.state import Stage
from dime.testing import fake_engine

HELLO = messages.encode("hello", version="1", device="nano", network="alexnet", total=4)
PROGRAM = """
import json, os, signal, sys
folder = next(word[6:] for word in sys.argv if word.startswith("--out="))
os.makedirs(folder, exist_ok=True)
json.dump(sys.argv[1:], open(os.path.join(folder, "words.json"), "w"))
tokens = [word.partition("=")[2] for word in sys.argv if word.startswith("--log-server-token=")]
open(os.path.join(folder, "token"), "w").write("".join(open(token).read() for token in tokens))
for line in LINES: print(line, flush=True)
os.kill(os.getpid(), -CODE) if CODE < 0 else sys.exit(CODE)
"""


@pytest.fixture(params=["process", "docker"])
def session(request, engine, job, monkeypatch, tmp_path):
    """Makes a session whose device side says lines and ends with a code."""
    monkeypatch.setattr(docker, "POLL_S", 0.01)

    def make(lines, code, **keys):
        work = replace(job(), **keys)
        if request.param == "process":
            program = tmp_path / "program.py"
            program.write_text(PROGRAM.replace("LINES", repr(lines)).replace("CODE", repr(code)))
            monkeypatch.setattr(process, "ENTRY", (sys.executable, str(program)))
            work = replace(work, device=LabDevice("nano"))
            return Session(work, "", Wishes(), print, print)

        def run(container):
            container.say(*lines)
            container.put(**fake_engine.files())
            container.end(code)

        engine.profile = run
        return Session(work, "", Wishes(), print, print)

    return make


def test_one_that_is_done_is_at_home(session, job):
    one = session([HELLO, messages.encode("done", folder="/elsewhere")], 0)
    assert one() == job().out
    assert one.stage is Stage.HOME and job().out.is_dir()


def test_an_error_is_told_in_its_own_words(session):
    with pytest.raises(DeviceError, match=r"^(nano: )?the disk is full"):
        session([HELLO, messages.encode("error", text="the disk is full")], 1)()


def test_one_that_ends_without_a_word_is_told_with_its_last_lines(session):
    with pytest.raises(DeviceError, match=r"ended with(out a result| exit code 2); last lines: a \| b"):
        session(["a", "b"], 2)()


def test_a_process_that_does_not_hear_that_it_is_to_end_is_killed(job, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text("import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)")
    monkeypatch.setattr(process, "ENTRY", (sys.executable, str(program)))
    monkeypatch.setattr(process, "STUBBORN_S", 0.2)
    with process.Process(replace(job(), device=LabDevice("edge")), "", Wishes(), print, print) as one:
        one.start()
        assert one.look()[1] == ["1\n"]
        one.stop()
        assert one.look()[0].code == -signal.SIGKILL


def test_a_process_that_is_killed_is_told_with_the_signal_and_not_started_again(engine, job, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("LINES", "[]").replace("CODE", "-9"))
    monkeypatch.setattr(process, "ENTRY", (sys.executable, str(program)))
    work = replace(job(), device=LabDevice("edge"), token="secret")
    with pytest.raises(DeviceError, match=r"ended without a result; killed by SIGKILL, likely for want of memory"):
        fleet.profile([work])
    words = json.loads((work.out / "words.json").read_text())
    assert f"--samples={work.samples.parent}" in words
    assert (work.out / "token").read_text() == "secret"
    token = next(word.partition("=")[2] for word in words if word.startswith("--log-server-token="))
    assert not Path(token).exists(), "the token stays where somebody may read it"


def test_what_is_apart_and_what_is_not_are_profiled_with_one_call(engine, job, monkeypatch, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("LINES", "[]").replace("CODE", "0"))
    monkeypatch.setattr(process, "ENTRY", (sys.executable, str(program)))
    monkeypatch.setattr(docker, "POLL_S", 0.01)
    here = replace(job(), device=LabDevice("edge"), out=tmp_path / "results/edge/alexnet")
    assert fleet.profile([here, job()]) == [here.out, job().out]


def test_the_lab_file_says_which_kind_a_device_has():
    assert engines.of(LabDevice("edge")) is process.Process
    assert engines.of(LabDevice("nano", "ssh://nano")) is engines.of(LabDevice("here", "unix:///x")) is docker.Docker
