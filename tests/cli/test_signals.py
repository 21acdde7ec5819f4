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
