"""The supervisor with real child processes."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import psutil
import pytest

from runtime.errors import UserError
from runtime.supervisor import Child, Supervisor
from tests.waiting import until

WAITS = """
    import signal, sys, threading
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    print("up", flush=True)
    stop.wait()
    print("down", flush=True)
"""
STUBBORN = """
    import signal, threading
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("up", flush=True)
    threading.Event().wait()
"""


class Heard:
    """Collects what the children write, in order."""

    def __init__(self):
        self.lines = []
        self.lock = threading.Lock()

    def __call__(self, name, line):
        with self.lock:
            self.lines.append((name, line))


def a_child(name, code):
    return Child(name=name, command=(sys.executable, "-c", textwrap.dedent(code)))


def a_supervisor(heard, *children, **more):
    return Supervisor(children=children, environment=dict(os.environ), listener=heard, **more)


def test_children_start_in_order_and_stop_in_reverse():
    """The last one started is the first one stopped, each before the next is asked."""
    heard = Heard()
    supervisor = a_supervisor(heard, a_child("a", WAITS), a_child("b", WAITS))
    supervisor.start()
    until(lambda: {("a", "up"), ("b", "up")} <= set(heard.lines))
    supervisor.close()
    assert heard.lines[-2:] == [("b", "down"), ("a", "down")]
    assert supervisor.pids() == {}


def test_a_crashed_child_is_started_again():
    """A child that was killed runs again under another process id."""
    supervisor = a_supervisor(Heard(), a_child("a", WAITS))
    supervisor.start()
    try:
        first = supervisor.pids()["a"]
        os.kill(first, signal.SIGKILL)

        def again():
            supervisor.check()
            return supervisor.pids().get("a") not in {None, first}

        until(again)
        assert supervisor.restarts() == {"a": 1}
    finally:
        supervisor.close()


def test_a_child_that_keeps_crashing_is_tried_ever_more_rarely():
    """The pauses between the tries double."""
    supervisor = a_supervisor(Heard(), a_child("a", "raise SystemExit(1)"))
    supervisor.start()
    try:
        running = supervisor._running[0]

        def crashed_twice():
            supervisor.check()
            return running.restarts >= 2 and running.process is None

        until(crashed_twice)
        assert running.backoff == pytest.approx(0.5 * 2**3)
    finally:
        supervisor.close()


def test_a_users_mistake_ends_the_whole_with_its_own_line():
    """Exit code 2 is not tried again: its line is raised for the user to see."""
    code = "import sys; sys.stderr.write('picket: the port is taken\\n'); sys.exit(2)"
    supervisor = a_supervisor(Heard(), a_child("a", code))
    supervisor.start()
    try:
        with pytest.raises(UserError, match=r"^the port is taken$"):
            until(supervisor.check)
    finally:
        supervisor.close()


def test_a_child_that_ends_well_is_finished():
    """Exit code 0 is an end, not a crash."""
    supervisor = a_supervisor(Heard(), a_child("a", "pass"))
    supervisor.start()
    try:

        def finished():
            supervisor.check()
            return supervisor.finished("a")

        until(finished)
        assert supervisor.restarts() == {"a": 0}
    finally:
        supervisor.close()


def test_a_child_that_does_not_stop_is_killed():
    """Stopping takes no longer than its bound, and leaves nobody behind."""
    heard = Heard()
    supervisor = a_supervisor(heard, a_child("a", STUBBORN), stop_seconds=0.2)
    supervisor.start()
    until(lambda: ("a", "up") in heard.lines)
    pid = supervisor.pids()["a"]
    supervisor.close()
    assert not psutil.pid_exists(pid)


def test_no_child_outlives_a_supervisor_that_was_killed():
    """Killing the parent ends the children too, also one that ignores being asked."""
    child = """
        import os, sys, threading
        from runtime import parent
        stop = threading.Event()
        parent.GRACE_SECONDS = 0.2
        parent.LOOK_SECONDS = 0.05
        parent.tie(int(os.environ["PICKET_PARENT_PID"]), stop=stop.set)
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("up", os.getpid(), flush=True)
        threading.Event().wait()
    """
    above = f"""
        import os, sys, threading
        from runtime.supervisor import Child, Supervisor
        child = Child(name="a", command=(sys.executable, "-c", {textwrap.dedent(child)!r}))
        supervisor = Supervisor(
            children=(child,), environment=dict(os.environ),
            listener=lambda name, line: print(line, flush=True),
        )
        supervisor.start()
        threading.Event().wait()
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(above)], stdout=subprocess.PIPE, text=True
    )
    with process:
        pid = int(process.stdout.readline().split()[1])
        process.kill()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie")
