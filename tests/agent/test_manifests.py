"""What is made of a file's text."""

import json
from datetime import UTC, datetime

import pytest

from agent import kinds, manifests
from tests.agent.builders import a_policy


def identities(text):
    return [str(document.identity) for document in manifests.parse(text).documents]


def test_documents_keep_their_lines():
    """Each document of a file knows the line at which it begins."""
    text = "# a remark\n" + a_policy("a") + "---\n" + a_policy("b")
    found = manifests.parse(text).documents
    assert [(document.identity.name, document.line) for document in found] == [("a", 2), ("b", 12)]


def test_lists_are_unfolded():
    """Items of a List, and of a typed list that leaves their kind out, with their own lines."""
    text = """\
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: Namespace
  metadata: {name: shop}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicyList
items:
- metadata: {name: a, namespace: x}
  spec: {podSelector: {}}
"""
    found = manifests.parse(text).documents
    assert [(str(document.identity), document.line) for document in found] == [
        ("Namespace shop", 4),
        ("NetworkPolicy x/a", 11),
    ]


def test_json_is_read():
    """A JSON manifest is as good as a YAML one."""
    text = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    assert identities(text) == ["Namespace shop"]


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("apps/v1", "Deployment"),
        ("v1", "Secret"),
        ("serving.knative.dev/v1", "Service"),
        ("crd.projectcalico.org/v1", "NetworkPolicy"),
    ],
)
def test_what_matching_does_not_need_is_ignored_and_counted(version, kind):
    """Kinds are told apart by their API group as well."""
    found = manifests.parse(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: x}}\n")
    assert found == manifests.Contents(ignored=(kind,))


def test_a_missing_namespace_is_the_default_one():
    """Only for kinds that live in a namespace; a clusterwide policy has none."""
    text = "apiVersion: cilium.io/v2\nkind: {}\nmetadata: {{name: x}}\n"
    assert identities(text.format("CiliumNetworkPolicy")) == ["CiliumNetworkPolicy default/x"]
    wide = manifests.parse(text.format("CiliumClusterwideNetworkPolicy")).documents[0]
    assert wide.identity.key("demo") == "demo/CiliumClusterwideNetworkPolicy//x"


def test_managed_fields_are_used_for_the_time_and_left_out():
    """The newest of them counts, but for changes of the status."""
    text = """\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  creationTimestamp: 2026-01-01T00:00:00Z
  managedFields:
  - {manager: a, time: "2026-01-02T00:00:00Z"}
  - {manager: b, time: 2026-01-03T00:00:00Z}
  - {manager: c, time: "2026-01-04T00:00:00Z", subresource: status}
"""
    found = manifests.parse(text).documents[0]
    assert found.changed_at == datetime(2026, 1, 3, tzinfo=UTC)
    assert found.manifest["metadata"] == {
        "name": "shop",
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("a: [\n b", 2, "expected"),
        ("a: b: c\n", 1, "mapping values"),
        ("kind: x\nkind: y\n", None, "duplicate key"),
        ("- a\n- b\n", 1, "no object"),
        ("apiVersion: v1\nkind: Namespace\n", 1, "no metadata"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {}\n", 1, "no name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a/b}\n", 1, "no name"),
        ("apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {b: 1}}\n", 1, "labels"),
        ("a: !!python/object:os.system x\n", None, ""),
        ("a: .nan\napiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n", 1, "JSON"),
        ("a: 2026-13-45\napiVersion: v1\n", None, ""),
        ("[" * 5000, None, "deep"),
        ("? [a]\n: b\n", 1, "key"),
    ],
)
def test_what_cannot_be_taken_says_where_and_why(text, line, said):
    """Broken YAML, half an object and values that JSON has not."""
    with pytest.raises(manifests.Unreadable) as caught:
        manifests.parse(text)
    assert said in caught.value.reason
    if line is not None:
        assert caught.value.line == line


def test_aliases_that_unfold_without_end_are_refused():
    """A few lines can name billions of values; they are counted before anything is built."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    with pytest.raises(manifests.Unreadable, match="unfolds to more"):
        manifests.parse("\n".join(lines))


def test_every_needed_kind_has_a_group():
    """The two tables of kinds name the same ones."""
    assert set(kinds._GROUP) == kinds.KINDS
