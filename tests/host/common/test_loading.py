"""Ctrl-C while a module is loaded ends the command as such, whatever the module makes of it."""

import signal
import subprocess
import sys

import pytest

GREEDY = """
import time
print("loads", flush=True)
try:
    time.sleep(10)
except KeyboardInterrupt:
    raise ImportError("what it needs is not there")
"""
WORK = """
import sys, time
from dime.host.common import interrupts
with interrupts.bounded():
    try:
        import greedy
        time.sleep(10)
    except KeyboardInterrupt:
        sys.exit(130)
"""
COMMAND = """
import sys
class Greedy:
    def find_spec(self, name, path=None, target=None):
        if name == "dime.host.cli.main":
            import greedy
sys.meta_path.insert(0, Greedy())
from dime.host.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize("program", [WORK, COMMAND], ids=["inside a command", "before it"])
def test_a_library_cannot_turn_an_interrupt_into_a_fault_of_its_own(program, tmp_path):
    (tmp_path / "greedy.py").write_text(GREEDY)
    words = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + program]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "loads\n"
        process.send_signal(signal.SIGINT)
        told = process.stderr.read()
        assert process.wait(30) == 130
    assert "Traceback" not in told and "ImportError" not in told
