"""Starts a program that ends when the process that started it ends.

Linux only: the kernel's parent-death signal survives `exec`, so it is set here and the program takes this process's
place. Elsewhere the program is simply executed, and the next `up` ends what was left by its recorded pid.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(argv: list[str]) -> None:
    """Executes `argv[1:]` in this process; `argv[0]` is the pid of the parent that must still live."""
    parent, program = int(argv[0]), argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the signal was asked for
            sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1:])
