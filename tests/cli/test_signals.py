"""A signal ends a command wherever it comes."""

import subprocess
import sys

IN_A_CALLBACK = """
import os, signal, time, weakref
from openbank.cli import signals

class Anything:
    pass

def callback(_):
    os.kill(os.getpid(), signal.SIGTERM)

signals.interrupt()
anything = Anything()
reference = weakref.ref(anything, callback)
try:
    del anything
    time.sleep(10)
except signals.Interrupted as interrupted:
    print(interrupted.exit_code)
"""


def test_a_signal_inside_a_callback_that_can_raise_nothing_is_not_lost() -> None:
    ended = subprocess.run([sys.executable, "-c", IN_A_CALLBACK], capture_output=True, text=True, timeout=30)
    assert (ended.stdout, ended.stderr) == ("143\n", "")


AFTER_A_WRITE = """
import os, signal, sys
from openbank.cli import process

class Errors(process._Errors):
    def write(self, data):
        written = super().write(data)
        os.kill(os.getpid(), signal.SIGINT)
        return written

def command():
    print("a line", file=sys.stderr, flush=True)
    return 0

process._Errors = Errors
process.command_line.main = command
process.main()
"""


def test_a_line_that_a_signal_interrupts_is_printed_once() -> None:
    # The signal comes between the write and its return, when the stream's buffer does not know yet what was written.
    ended = subprocess.run([sys.executable, "-c", AFTER_A_WRITE], capture_output=True, text=True, timeout=30)
    assert (ended.returncode, ended.stderr) == (130, "a line\n")
