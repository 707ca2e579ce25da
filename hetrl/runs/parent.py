"""A process that ends with the one that started it, however that ended: as on SIGTERM, with its batch and a checkpoint.

On Linux the kernel sends the signal. Elsewhere the parent holds the other end of a pipe, which closes with it.
"""

import ctypes
import os
import signal
import subprocess
import sys
import threading

from hetrl.errors import RunError

_VARIABLE = "HETRL_PARENT"
"""Tells a child how to watch: the number of its parent, or that its input is the pipe."""
_PIPE = "pipe"
_PR_SET_PDEATHSIG = 1


def followed(by_kernel: bool = sys.platform == "linux") -> tuple[int, dict[str, str]]:
    """Return what to start a child with, which then calls :func:`follow_parent`: its input, and its environment."""
    how, given = (str(os.getpid()), subprocess.DEVNULL) if by_kernel else (_PIPE, subprocess.PIPE)
    return given, {**os.environ, _VARIABLE: how}


def follow_parent() -> None:
    """From now on get a SIGTERM when the parent is gone; does nothing where it was not started for that.

    Raises:
        RunError: the parent is gone already.
    """
    how = os.environ.pop(_VARIABLE, None)  # not for what this process starts
    if how is None:
        return
    if how == _PIPE:
        threading.Thread(target=_wait_for_end_of_input, daemon=True).start()
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != int(how):  # it died before the kernel was asked
        raise RunError("the process that started this seed is gone; continue with hetrl train --resume on its folder.")


def _wait_for_end_of_input() -> None:
    while os.read(0, 1):
        pass
    if os.name == "posix":
        os.kill(os.getpid(), signal.SIGTERM)
    else:  # there os.kill ends the process at once
        signal.raise_signal(signal.SIGTERM)
