"""A child process that ends with its parent, however the parent ends.

Linux tells the child by a signal; everywhere a thread looks at the parent's id as well, so that no
child outlives a parent that was killed. Must be called from the child's main thread.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable

LOOK_SECONDS = 1.0
GRACE_SECONDS = 15.0
"""How long the child may take to stop in good order once its parent is gone."""
ORPHANED = 70
"""The exit code of a child that did not stop within the grace."""

_PR_SET_PDEATHSIG = 1


def tie(parent: int, *, stop: Callable[[], None]) -> None:
    """Have `stop` called when process `parent` is gone, and end this process soon after.

    Where the parent is gone already, `stop` is called at once.
    """
    if sys.platform == "linux":
        # A failure is no harm: the thread below does the same, a second later.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    watch = threading.Thread(target=_watch, args=(parent, stop), name="parent", daemon=True)
    watch.start()


def _watch(parent: int, stop: Callable[[], None]) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    stop()
    time.sleep(GRACE_SECONDS)
    os._exit(ORPHANED)
