"""Pytest fixtures of the control plane: one that all share, and as many of one's own as wanted."""

import contextlib
import fcntl
import json
import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts import cache, demand
from tests.parts.kubernetes import crds, plane

PART = "Kubernetes control plane"


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[plane.ControlPlane]:
    """A control plane with controllers, kwok and Cilium's kinds, shared by all of xdist's workers.

    Use a `namespace` of your own, and do not stop it. Under xdist the first worker starts it and
    the guardian stops it when the session ends.
    """
    try:
        if "PYTEST_XDIST_WORKER" in os.environ:
            yield _shared(tmp_path_factory.getbasetemp().parent / "control-plane")
            return
        folder = tmp_path_factory.mktemp("control-plane")
        with plane.running(folder, with_controllers=True) as cluster:
            crds.install(cluster)
            yield cluster
    except cache.Missing as missing:
        demand.require(PART, str(missing))


@pytest.fixture
def namespace(control_plane: plane.ControlPlane) -> Iterator[str]:
    """A namespace of the shared control plane, for one test; it is gone soon after."""
    name = f"t{uuid.uuid4().hex[:12]}"
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    control_plane.apply(manifest)
    yield name
    control_plane.delete(manifest)


@pytest.fixture
def make_plane(tmp_path: Path) -> Iterator[Callable[..., plane.ControlPlane]]:
    """A function that runs a control plane of the test's own; its arguments are plane.running's."""
    with contextlib.ExitStack() as stack:

        def make(**options: Any) -> plane.ControlPlane:
            folder = tmp_path / f"plane-{uuid.uuid4().hex[:8]}"
            try:
                return stack.enter_context(plane.running(folder, **options))
            except cache.Missing as missing:
                demand.require(PART, str(missing))
                raise

        yield make


def _shared(folder: Path) -> plane.ControlPlane:
    folder.mkdir(exist_ok=True)
    note = folder / "made.json"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if note.exists():
            return plane.ControlPlane(
                folder=folder / "plane", with_controllers=True, **json.loads(note.read_text())
            )
        cluster = plane.new(folder / "plane", with_controllers=True)
        cluster.start()
        crds.install(cluster)
        cluster.leave()
        made = ("port", "etcd_port", "peer_port")
        note.write_text(json.dumps({name: getattr(cluster, name) for name in made}))
        return cluster
