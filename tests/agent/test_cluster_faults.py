"""What happens to the agent when the API server, the way to it or its rights are not as they were."""

import contextlib
import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from agent import credentials, resources
from agent.cluster import FollowedCluster
from runtime.errors import UserError
from tests.agent import objects
from tests.agent.line import Line
from tests.agent.running import (
    Asked,
    a_cluster_publisher,
    complete,
    known,
    messages_of,
    newest,
    running,
)
from tests.parts import certificates
from tests.parts.kubernetes import crds
from tests.waiting import until

pytestmark = pytest.mark.kubernetes
RBAC = Path(__file__).parents[2] / "examples" / "kubernetes" / "agent-rbac.yaml"
CNP = "CiliumNetworkPolicy"


def names(log, namespace):
    return sorted(i.name for i in known(log).objects if i.namespace == namespace)


def through(line, cluster, token=None):
    """A kubeconfig that leads over a line."""
    return cluster.files.kubeconfig(f"line-{line.port}", url=line.url, token=token or cluster.token)


def test_a_cut_line_costs_no_list(control_plane, namespace, log):
    """What happened meanwhile is seen from where each watch was; nothing is listed again."""
    asked = Asked()
    control_plane.apply([objects.a_cnp(namespace, "stays"), objects.a_cnp(namespace, "goes")])
    with (
        Line(control_plane.port) as line,
        complete(publisher := a_cluster_publisher(log, through(line, control_plane), asked=asked)),
    ):
        control_plane.apply(objects.a_cnp(namespace, "fresh"))
        until(lambda: "fresh" in names(log, namespace))
        lists = [request for request in asked if request[1] == "list"]
        line.cut()
        control_plane.delete(objects.a_cnp(namespace, "goes"))
        control_plane.apply(objects.a_cnp(namespace, "comes"))
        until(publisher.problem)
        assert "comes" not in names(log, namespace)
        line.mend()
        until(lambda: names(log, namespace) == ["comes", "fresh", "stays"])
        until(lambda: publisher.problem() is None)
        assert [request for request in asked if request[1] == "list"] == lists
        assert asked.watches(CNP) >= 2


def test_an_api_server_that_was_killed_is_read_on(make_plane, log):
    """Changes before and after are there once, and the agent says what it waits for."""
    cluster = make_plane()
    crds.install(cluster)
    cluster.apply([objects.a_namespace("shop"), objects.a_cnp("shop", "before")])
    with complete(publisher := a_cluster_publisher(log, cluster.kubeconfig)):
        cluster.api.stop(kill=True)
        assert "127.0.0.1" in until(publisher.problem)
        cluster.api.start()
        cluster.apply(objects.a_cnp("shop", "after"))
        until(lambda: names(log, "shop") == ["after", "before"])
        until(lambda: publisher.problem() is None)
    assert [m["manifest"]["metadata"]["name"] for m in messages_of(log, "shop", CNP)] == [
        "before",
        "after",
    ]


def test_a_place_that_is_forgotten_is_listed_for_again(make_plane, log):
    """After compaction and a restart (410): what went meanwhile is gone, the rest left alone."""
    cluster = make_plane()
    crds.install(cluster)
    made = [objects.a_cnp("shop", name) for name in ("stays", "goes")]
    cluster.apply([objects.a_namespace("shop"), *made])
    asked = Asked()
    with (
        Line(cluster.port) as line,
        complete(publisher := a_cluster_publisher(log, through(line, cluster), asked=asked)),
    ):
        line.cut()
        cluster.delete(made[1])
        cluster.compact()
        cluster.api.restart()
        line.mend()
        until(lambda: names(log, "shop") == ["stays"])
        until(lambda: publisher.problem() is None)
        assert asked.lists(CNP) == 2
    assert len(messages_of(log, "shop", CNP, "stays")) == 1


def test_kinds_that_come_later_are_found_and_those_that_go_are_gone(make_plane, log, monkeypatch):
    """Without Cilium the agent is ready; its policies count as soon as they can exist."""
    monkeypatch.setattr("agent.reflecting.DISCOVERY_SECONDS", 0.5)
    cluster = make_plane()
    cluster.apply([objects.a_namespace("shop"), objects.a_network_policy("shop", "old")])
    with complete(publisher := a_cluster_publisher(log, cluster.kubeconfig)):
        assert names(log, "shop") == ["old"]
        crds.install(cluster)
        cluster.apply(objects.a_cnp("shop", "new"))
        until(lambda: names(log, "shop") == ["new", "old"])
        cluster.delete(
            [manifest for manifest in crds.manifests() if manifest["spec"]["names"]["kind"] == CNP]
        )
        until(lambda: names(log, "shop") == ["old"])
        until(lambda: publisher.problem() is None)


def test_a_token_that_nobody_knows_is_a_mistake(control_plane, log):
    """Said in one line that names the file and shows no token."""
    kubeconfig = control_plane.kubeconfig_for("very-secret-token", name="stranger")
    with (
        pytest.raises(UserError, match=r"does not take the credentials of .*stranger") as said,
        running(a_cluster_publisher(log, kubeconfig)) as raised,
    ):
        until(lambda: raised)
    assert "very-secret" not in str(said.value)


def test_another_authority_is_a_mistake(control_plane, log, tmp_path):
    """The certificate of the API server is not signed by the one in the kubeconfig."""
    document = YAML(typ="safe").load(control_plane.kubeconfig.read_text())
    wrong = tmp_path / "wrong.kubeconfig"
    authority = tmp_path / "stranger.pem"
    authority.write_bytes(certificates.Authority.new().pem)
    document["clusters"][0]["cluster"].pop("certificate-authority-data", None)
    document["clusters"][0]["cluster"]["certificate-authority"] = str(authority)
    with wrong.open("w") as stream:
        YAML().dump(document, stream)
    with (
        pytest.raises(UserError, match="the certificate of the API server is not trusted"),
        running(a_cluster_publisher(log, wrong)) as raised,
    ):
        until(lambda: raised)


def a_service_account(cluster, namespace):
    """The manifest that users apply, in a namespace of the test's own; returns its objects."""
    text = RBAC.read_text().replace("namespace: picket", f"namespace: {namespace}")
    text = text.replace("name: picket-agent", f"name: {namespace}")
    made = [dict(document) for document in YAML(typ="safe").load_all(text)]
    cluster.apply(made)
    return made


def test_the_rights_that_are_documented_are_enough(control_plane, namespace, log):
    """A service account with exactly these sees every kind, and a revoked token is told."""
    made = a_service_account(control_plane, namespace)
    config = objects.a_cilium_config()
    control_plane.apply(
        [objects.a_cnp(namespace), objects.a_service(namespace), objects.a_pod(namespace), config]
    )
    token = control_plane.service_account_token(namespace, namespace)
    kubeconfig = control_plane.kubeconfig_for(token, name=namespace)
    try:
        with Line(control_plane.port) as line:
            kubeconfig = through(line, control_plane, token)
            with complete(publisher := a_cluster_publisher(log, kubeconfig)):
                kinds = {m["manifest"]["kind"] for m in messages_of(log, namespace)}
                assert kinds == {CNP, "Service", "NamedPorts"}
                assert newest(log, "AgentOptions", "", "cilium-config")
                control_plane.delete(made[0])

                def refused():
                    # For some seconds the API server remembers that it took the token.
                    line.cut()
                    line.mend()
                    said = publisher.problem() or ""
                    return said if "credentials" in said else None

                said = until(refused, every=0.5)
                assert token not in said
                control_plane.apply(made[0])
                fresh = control_plane.service_account_token(namespace, namespace)
                assert through(line, control_plane, fresh) == kubeconfig
                until(lambda: publisher.problem() is None)
                control_plane.apply(objects.a_cnp(namespace, "later"))
                until(lambda: newest(log, CNP, namespace, "later"))
    finally:
        control_plane.delete([*made, config])


def test_a_pod_reads_its_own_cluster(control_plane, namespace, log, tmp_path, monkeypatch):
    """By the files of its service account; a token that the kubelet replaced is read again."""
    made = a_service_account(control_plane, namespace)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    (tmp_path / "ca.crt").write_bytes(control_plane.ca_file.read_bytes())
    token = tmp_path / "token"
    token.write_text(control_plane.service_account_token(namespace, namespace))
    control_plane.apply(objects.a_cnp(namespace))
    try:
        with Line(control_plane.port) as line:
            monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(line.port))
            who = credentials.of_pod(tmp_path)
            with complete(publisher := a_cluster_publisher(log, None, who=who)):
                assert newest(log, CNP, namespace, "web")
                token.write_text("rotated to nonsense")
                publisher.source._session.server.renew()
                line.cut()
                line.mend()
                until(lambda: "service account of this pod" in (publisher.problem() or ""))
                token.write_text(control_plane.service_account_token(namespace, namespace))
                until(lambda: publisher.problem() is None)
    finally:
        control_plane.delete(made)


ROLES = [
    document for document in YAML(typ="safe").load_all(RBAC.read_text()) if "rules" in document
]
RULES = [(role["kind"], number) for role in ROLES for number in range(len(role["rules"]))]


def test_the_manifest_grants_what_is_asked_for_and_no_more():
    """One rule a resource, with these verbs."""
    granted = sorted(
        (
            role["kind"],
            rule["apiGroups"],
            rule["resources"],
            rule.get("resourceNames"),
            rule["verbs"],
        )
        for role in ROLES
        for rule in role["rules"]
    )
    asked = [
        ("ClusterRole", [item.group], [item.plural], None, list(resources.VERBS))
        for item in (*resources.OBJECTS, resources.POD)
    ]
    config = resources.cilium_config("kube-system", "cilium-config")
    asked.append(("Role", [""], ["configmaps"], ["cilium-config"], list(resources.VERBS)))
    assert granted == sorted(asked)
    assert config.rule().startswith('{apiGroups: [""], resources: [configmaps], resourceNames')


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule[0]}-{rule[1]}")
def test_a_right_that_is_missing_is_told(control_plane, namespace, log, rule):
    """Which verb of which resource, and the rule to add; once it is there, the agent goes on."""
    made = a_service_account(control_plane, namespace)
    (role,) = [item for item in made if item["kind"] == rule[0]]
    taken = role["rules"].pop(rule[1])
    token = control_plane.service_account_token(namespace, namespace)
    kubeconfig = control_plane.kubeconfig_for(token, name=namespace)
    plural, group = taken["resources"][0], taken["apiGroups"][0]
    what = f"{plural}.{group}" if group else plural
    try:
        control_plane.apply(role)
        with contextlib.ExitStack() as stack:
            publisher = a_cluster_publisher(log, kubeconfig)
            stack.enter_context(running(publisher))
            said = until(lambda: re.search(r"may not .*", publisher.problem() or ""))[0]
            assert f"may not list {what}: " in said
            assert f"resources: [{plural}]" in said
            assert "verbs: [list, watch]" in said
            assert known(log).synced is None
            control_plane.apply({**role, "rules": [*role["rules"], taken]})
            until(lambda: publisher.problem() is None)
            assert known(log).synced
    finally:
        control_plane.delete(made)


def test_an_agent_stops_at_once_while_it_waits(control_plane, log):
    """Threads that wait for the API server are let go of."""
    publisher = a_cluster_publisher(log, control_plane.kubeconfig)
    with complete(publisher):
        assert isinstance(publisher.source, FollowedCluster)
    assert publisher.source.problem() is None
