"""The control plane of the tests: serves, refuses, comes back, stands alone, leaves nothing."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests import waiting
from tests.parts import cache
from tests.parts.kubernetes import crds, fakes, objects, plane, programs

pytestmark = pytest.mark.kubernetes
ROOT = Path(__file__).parents[2]
Make = Callable[..., plane.ControlPlane]


def a_config_map(namespace: str = "default", name: str = "kept") -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "1"}}


def a_deployment(namespace: str) -> dict[str, object]:
    labels = {"app": "web"}
    pod = {"containers": [{"name": "web", "image": "web"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def deploy_and_delete(cluster: plane.ControlPlane) -> None:
    """See the pods of a deployment run, each at an address of its own, and go with it."""
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "deployed"}}
    cluster.apply([fakes.node("fake-1"), space, a_deployment("deployed")])

    def ready() -> bool:
        found = cluster.get("apps/v1", "Deployment", "web", "deployed")
        return found is not None and found.get("status", {}).get("readyReplicas") == 2

    cluster.until(ready, what="both replicas to be ready")
    pods = cluster.all_of("v1", "Pod", "deployed")
    assert len({pod["status"]["podIP"] for pod in pods}) == 2
    cluster.delete(space)
    cluster.until(
        lambda: cluster.get("v1", "Namespace", "deployed") is None,
        what="the namespace to be gone",
        seconds=60,
    )


def processes_of(folder: Path) -> list[str]:
    """Return the command lines that name a folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if str(folder) in command and file.parent.name != str(os.getpid()):
            found.append(command)
    return found


def test_the_api_server_answers_whom_it_knows(control_plane: plane.ControlPlane) -> None:
    """The administrator is served, over TLS that its authority signed; a stranger is not."""
    assert control_plane.client.get("/version").json()["gitVersion"] == programs.DEFAULT
    with control_plane.client_for("no-such-token") as stranger:
        assert stranger.get("/api/v1/namespaces").status_code == httpx.codes.UNAUTHORIZED
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(control_plane.url, trust_env=False)


def test_objects_are_applied_read_and_deleted(
    control_plane: plane.ControlPlane, namespace: str
) -> None:
    """What was applied is there until it is deleted; deleting it again is fine."""
    control_plane.apply({"kind": "List", "items": [a_config_map(namespace)]})
    found = control_plane.get("v1", "ConfigMap", "kept", namespace)
    assert found is not None
    assert found["data"] == {"a": "1"}
    names = [
        each["metadata"]["name"] for each in control_plane.all_of("v1", "ConfigMap", namespace)
    ]
    assert "kept" in names
    for _ in range(2):
        control_plane.delete(a_config_map(namespace))
    assert control_plane.get("v1", "ConfigMap", "kept", namespace) is None


def test_a_wrong_object_is_refused_in_the_servers_words(
    control_plane: plane.ControlPlane, namespace: str
) -> None:
    """The schema of Cilium's kinds holds."""
    policy = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "wrong", "namespace": namespace},
        "spec": {"endpointSelector": {}, "ingress": "all"},
    }
    with pytest.raises(objects.Refused, match="ingress"):
        control_plane.apply(policy)


def test_a_service_account_may_what_its_role_allows(
    control_plane: plane.ControlPlane, namespace: str
) -> None:
    """Its own token reads what a role names, and is refused everything else."""
    metadata = {"name": "reader", "namespace": namespace}
    rbac = "rbac.authorization.k8s.io"
    role = {"apiGroups": ["cilium.io"], "resources": ["ciliumnetworkpolicies"], "verbs": ["list"]}
    subject = {"kind": "ServiceAccount", **metadata}
    reference = {"apiGroup": rbac, "kind": "Role", "name": "reader"}
    control_plane.apply(
        [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
            {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": metadata, "rules": [role]},
            {
                "apiVersion": f"{rbac}/v1",
                "kind": "RoleBinding",
                "metadata": metadata,
                "subjects": [subject],
                "roleRef": reference,
            },
        ]
    )
    token = control_plane.service_account_token(namespace, "reader")
    own = f"/apis/cilium.io/v2/namespaces/{namespace}/ciliumnetworkpolicies"
    with control_plane.client_for(token) as client:
        control_plane.until(lambda: client.get(own).is_success, what="the role to hold")
        for path in ("/api/v1/namespaces", f"/api/v1/namespaces/{namespace}/secrets"):
            assert client.get(path).status_code == httpx.codes.FORBIDDEN
        assert client.delete(own).status_code == httpx.codes.FORBIDDEN


def test_a_deployment_becomes_ready_and_a_namespace_goes(
    control_plane: plane.ControlPlane,
) -> None:
    """Its pods are made, put on a fake node and run there, and all goes with the namespace."""
    deploy_and_delete(control_plane)


def test_an_instance_of_ones_own_comes_back_and_leaves_nothing(
    tmp_path: Path, make_plane: Make, control_plane: plane.ControlPlane
) -> None:
    """Beside another one it has its own objects; these stay over kill -9, at the same address."""
    cluster = make_plane()
    assert cluster.url != control_plane.url
    cluster.apply(a_config_map())
    assert control_plane.get("v1", "ConfigMap", "kept", "default") is None
    before = cluster.get("v1", "ConfigMap", "kept", "default")
    assert before is not None
    url = cluster.url

    cluster.api.stop(kill=True)
    with pytest.raises(httpx.TransportError):
        cluster.client.get("/readyz")
    cluster.api.start()
    cluster.restart(kill=True)
    assert cluster.url == url
    assert cluster.get("v1", "ConfigMap", "kept", "default") == before

    cluster.apply(a_config_map(name="newer"))
    cluster.compact()
    old = {
        "resourceVersion": before["metadata"]["resourceVersion"],
        "resourceVersionMatch": "Exact",
    }
    gone = cluster.client.get("/api/v1/configmaps", params={**old, "limit": 5})
    assert gone.status_code == httpx.codes.GONE

    cluster.stop(kill=True)
    assert processes_of(cluster.folder) == []


def test_an_etcd_of_somebody_else_is_not_written_into(
    tmp_path: Path, make_plane: Make, control_plane: plane.ControlPlane
) -> None:
    """With its port taken a control plane does not start, rather than use what is there."""
    second = plane.new(tmp_path / "second")
    second.etcd_port = control_plane.etcd_port
    with pytest.raises(cache.Missing, match="etcd did not come up"):
        second.start()
    second.stop(kill=True)
    assert processes_of(second.folder) == []


def test_the_other_minor_serves(make_plane: Make) -> None:
    """The other version of the API server takes Cilium's kinds; its controllers work as well."""
    cluster = make_plane(version=programs.OTHER, with_controllers=True)
    assert cluster.client.get("/version").json()["gitVersion"] == programs.OTHER
    crds.install(cluster, {"ciliumcidrgroups"})
    group = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": {"name": "offices"},
        "spec": {"externalCIDRs": ["198.51.100.0/24"]},
    }
    cluster.apply(group)
    (found,) = cluster.all_of("cilium.io/v2", "CiliumCIDRGroup")
    assert found["spec"] == group["spec"]
    deploy_and_delete(cluster)


def test_nothing_outlives_a_killed_test_run(tmp_path: Path, control_plane: object) -> None:
    """After kill -9 of pytest all its servers end by themselves, and their folder is gone."""
    test = tmp_path / "test_killed.py"
    test.write_text(
        textwrap.dedent(
            """
            from pathlib import Path
            from threading import Event

            def test_hangs(make_plane):
                cluster = make_plane(with_controllers=True)
                Path(__file__).with_name("folder").write_text(str(cluster.folder))
                Event().wait()
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.parts.kubernetes.fixtures"]
    command += ["-c", os.devnull, f"--rootdir={tmp_path}", f"--basetemp={tmp_path / 'base'}"]
    # A session of its own, not a worker of this one.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")}
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [*command, str(test)], cwd=ROOT, env=environment, stdout=log, stderr=log
        )
    try:
        note = tmp_path / "folder"
        waiting.until(
            lambda: (note.exists() and note.read_text()) or run.poll() is not None,
            what="the inner test run",
        )
        assert run.poll() is None, (tmp_path / "log").read_text()
        folder = Path(note.read_text())
        # Five servers, each under a guardian.
        assert len(processes_of(folder)) == 10
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    waiting.until(lambda: not processes_of(folder), what="all its servers to end")
    assert not folder.exists()
