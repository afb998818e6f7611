"""Nothing of a cluster outlives whoever made it, and two of them do not know each other."""

import os
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import waiting
from tests.parts import cache, demand
from tests.parts.cilium import leftovers, network, programs
from tests.parts.cilium.cluster import Cluster

pytestmark = [pytest.mark.cilium, pytest.mark.xdist_group("cilium"), pytest.mark.timeout(400)]

HALF = """
import sys, time
from tests.parts.cilium import leftovers, network
claimed = leftovers.claim()
network.make_world(claimed)
print(claimed.number, claimed.keeper.pid, flush=True)
time.sleep(1000)
"""


def remains(number: int) -> list[str]:
    """Return what is left of an instance: folder, veth, processes, mounts."""
    mark = f"{leftovers.VARIABLE}={number}\0".encode()
    folder = leftovers.HOME / str(number)
    found = [
        str(path) for path in (folder, Path(f"/sys/class/net/picket{number}")) if path.exists()
    ]
    for path in Path("/proc").glob("[0-9]*"):
        try:
            processes = mark in (path / "environ").read_bytes()
            told = f"{folder}/" in (path / "cmdline").read_text(errors="replace")
        except OSError:
            continue
        found += [f"process {path.name}"] if processes or told else []
    mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
    return [*found, *re.findall(rf".*{folder}/.*", mounts)]


@pytest.fixture
def root() -> None:
    """What makes namespaces, though no cluster yet."""
    reason = None
    try:
        programs.require_root()
        programs.require_tools()
    except cache.Missing as missing:
        reason = str(missing)
    demand.require("network namespace", reason)


@pytest.mark.usefixtures("root")
def test_whoever_comes_next_clears_up_after_a_keeper_that_was_killed():
    """Owner and keeper killed together: the next claim finds and removes what they left."""
    owner = subprocess.Popen(
        [sys.executable, "-c", HALF], cwd=leftovers.ROOT, stdout=subprocess.PIPE, text=True
    )
    number, keeper = map(int, owner.stdout.readline().split())
    watched = os.pidfd_open(keeper)
    os.kill(keeper, signal.SIGSTOP)
    owner.kill()
    os.kill(keeper, signal.SIGKILL)
    owner.wait()
    owner.stdout.close()
    # A killed process holds its lock until it is gone, and it is no child of ours.
    assert select.select([watched], [], [], 10)[0], "the keeper does not end"
    os.close(watched)
    claimed = leftovers.claim()
    try:
        assert remains(number) == []
        assert claimed.folder.exists()
    finally:
        claimed.give_back()
    assert remains(claimed.number) == []


@pytest.mark.usefixtures("root")
def test_who_lives_is_left_alone():
    """A claim takes away nothing of an instance that is in use, and gets a number of its own."""
    first = leftovers.claim()
    try:
        world = network.make_world(first)
        second = leftovers.claim()
        second.give_back()
        assert second.number != first.number
        assert world.connect(network.Addresses(first.number).router, 1).error == "refused"
        world.close()
    finally:
        first.give_back()
    assert remains(first.number) == []


def test_another_cluster_beside_this_one_goes_with_its_process(cilium_cluster: Cluster):
    """Killed by kill -9 it leaves nothing; the first does not notice any of it."""
    # By itself, not as one of pytest's workers.
    alone = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    other = subprocess.Popen(
        [sys.executable, "-m", "tests.parts", "up", "cluster"],
        cwd=leftovers.ROOT,
        env=alone,
        stdout=subprocess.PIPE,
        text=True,
    )
    lines = []
    while not lines or "Ctrl-C" not in lines[-1]:
        lines.append(other.stdout.readline())
        assert lines[-1], "".join(lines)
    folder = re.search(rf"{leftovers.HOME}/(\d+)", "".join(lines))
    number = int(folder[1])
    assert leftovers.HOME / str(number) != cilium_cluster.folder
    assert remains(number) != []
    other.kill()
    other.wait()
    other.stdout.close()
    waiting.until(lambda: remains(number) == [], what="everything gone", seconds=20)
    status = cilium_cluster.relay.status()
    assert status.num_connected_nodes.value == len(cilium_cluster.nodes)
    called = cilium_cluster.pods["shop/backend"]
    assert cilium_cluster.pods["shop/frontend"].curl(called.ip, 8080).ok
