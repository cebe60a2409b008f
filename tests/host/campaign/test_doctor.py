"""The doctor on an engine that is a stand-in: whom it disturbs, and what it leaves behind, whatever ends it."""

import json
import signal
import subprocess
import sys
import threading
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dime.contract import messages
from dime.host.bench import transfer
from dime.host.bench.lab import Lab, LabDevice
from dime.host.bench.lock import HOLD
from dime.host.campaign import doctor
from dime.testing.fake_engine import FakeEngine, RefusalError, kind


def saying(answers):
    """What a container does that says something, by its words, and ends; without a code, it does not end."""

    def work(container):
        code, text = answers(container.command)
        container.say(*text.splitlines())
        if code is not None:
            container.end(code)

    return work


def answers(words):
    """What a board's containers say."""
    facts = {
        "probe": {"free_bytes": 5e9, "time_s": time.time()},
        "smoke": {"torch": "1.11", "gpu": "", "processor": "cpu"},
        "board": {"model": "Nano", "steps": 12},
    }
    return 0, messages.encode("description", facts=facts[words[3]])


@pytest.fixture
def board(tmp_path, monkeypatch):
    with FakeEngine(tmp_path, "dime-host:latest") as engine:
        engine.work = saying(answers)
        monkeypatch.setenv("DOCKER_HOST", engine.address)
        monkeypatch.setattr(transfer, "LATE_S", 0.3)
        yield engine


def checked(board, **keys):
    return {finding.what: finding for finding in doctor.check(Lab({"nano": board.device(**keys)}), "nano")}


def test_every_part_is_tried_and_nothing_stays(board):
    found = checked(board, set_clock=True)
    assert [what for what, finding in found.items() if finding.works] == [
        *("engine", "runtime", "image", "disk", "clock", "board", "network")
    ]
    assert "12 frequencies" in found["board"].text
    assert board.leftovers() == []


def test_an_image_of_an_earlier_version_is_told_with_what_to_type(board):
    board.earlier.add(board.images[0]["Id"])
    board.work = FakeEngine.work.__get__(board)
    finding = checked(board)["image"]
    assert not finding.works and "of an earlier version, which has no 'probe'; type: make build" in finding.text


def test_nothing_is_started_on_a_board_that_somebody_holds(board):
    board.work = lambda container: None
    with volumes_client(board) as client:
        labels = {"dime": "run", "dime.key": "k", "dime.holder": "eve@lab", "dime.started": "now", "dime.what": "vgg11"}
        client.containers.create("dime-host:latest", name=HOLD, labels=labels).start()
    board.calls.clear()
    found = checked(board)
    assert "by eve@lab: image, disk, clocks and network are not tried" in found["held"].text
    assert list(found) == ["engine", "runtime", "held"]
    assert not [call for call in board.calls if call.startswith(("POST", "PUT", "DELETE"))]


@pytest.mark.parametrize("moment", ["DELETE /containers/X", "POST /containers/create"])
def test_who_takes_the_board_meanwhile_is_not_disturbed_either(board, moment):
    """Somebody's run begins between two of the doctor's containers, or just when it wants to make the second."""
    labels = {"dime": "run", "dime.key": "k", "dime.holder": "eve@lab", "dime.started": "now", "dime.what": "vgg11"}
    state = {"met": 0}

    def come(method, path):
        state["met"] += kind(method, path) == moment
        if kind(method, path) == moment and state["met"] == (1 if moment.startswith("DELETE") else 2):
            board.before = board.after = lambda method, path: None
            board.create(HOLD, {"Labels": labels}).status = "running"

    if moment.startswith("DELETE"):
        board.after = come
    else:
        board.before = come
    found = checked(board)
    assert found["held"].works and "by eve@lab" in found["held"].text and "network" not in found
    assert board.leftovers() == [HOLD]


def test_the_doctors_own_containers_hold_the_board(board):
    seen = []

    def work(container):
        seen.extend((one.name, one.labels["dime.what"]) for one in board.containers.values())
        saying(answers)(container)

    board.work = work
    checked(board)
    assert seen == [(HOLD, "the doctor")] * 3


def volumes_client(board):
    from dime.host.bench import clients

    return clients.connect(LabDevice("nano", engine=board.address))


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_doctor_that_is_ended_at_any_stage_leaves_nothing(board, moment):
    """Ctrl-C with each of its calls: when the engine has not begun it, and when it has done it but not answered."""
    checked(board)
    stages = len(board.calls)
    main = threading.main_thread().ident
    for stage in range(stages):
        board.calls.clear()
        state = {"left": stage}

        def strike(method, path, state=state):
            state["left"] -= 1
            if state["left"] == -1:
                signal.pthread_kill(main, signal.SIGINT)
                time.sleep(0.1)

        setattr(board, moment, strike)
        try:
            checked(board)
            assert state["left"] >= 0, "the interrupt was swallowed"  # what is refused has no moment after it
        except KeyboardInterrupt:
            pass
        setattr(board, moment, lambda method, path: None)
        deadline = time.monotonic() + 20
        while board.leftovers() and time.monotonic() < deadline:
            time.sleep(0.02)
        assert board.leftovers() == [], f"ended {moment} call {stage}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_command_that_is_asked_to_end_cleans_up(board, tmp_path, number):
    (tmp_path / "lab.toml").write_text(f"[nano]\nengine = '{board.address}'\nimage = 'dime-host'\n")
    board.work = lambda container: None  # the first container never ends
    command = [sys.executable, "-m", "dime.host", "doctor"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 60
    while not any(one.status == "running" for one in board.containers.values()):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == 128 + number
    assert board.leftovers() == []


def test_a_failed_start_leaves_nothing_and_tells_its_own_cause(board):
    def refuse(method, path):
        if kind(method, path) in ("POST /containers/X/start", "DELETE /containers/X"):
            raise RefusalError(f"no {path.split('/')[-1]}")

    board.before = refuse
    assert checked(board)["engine"].text == "the engine refused: no start"
    assert board.unlabelled() == []


FACTS = st.sampled_from(["free_bytes", "time_s", "model", "steps", "error", "torch", "gpu", "processor", "facts"])
SAID = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\x1b[2J" * 9999),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(FACTS, inner),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(said=SAID, kind=st.sampled_from(["", "description", "error"]), set_clock=st.booleans())
def test_whatever_a_board_says_is_a_finding_of_bounded_length(board, said, kind, set_clock):
    text = json.dumps({"kind": kind, "facts": said, "text": said} if kind else said)
    board.work = saying(lambda words: (0, text))
    found = checked(board, set_clock=set_clock)
    assert "engine" in found
    assert max(len(finding.text) for finding in found.values()) < 3000
