"""What policies refer to: a change concerns those who refer to the object, and nobody else."""

import pytest

from policies.evaluating import Outcome, decide
from policies.flows import Direction
from policies.labels import LabelSet
from policies.repository import Repository
from tests.policies.builders import a_pod, a_policy, a_query

WEB = a_pod("web")
OUTSIDE = LabelSet.of(["reserved:world"])


def a_service(name: str, *, namespace: str = "shop", **labels: str) -> dict:
    """A service without a selector: what its endpoints say is what it stands for."""
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"kind": "Service", "metadata": metadata, "spec": {}}


def a_slice(name: str, ip: str, *, namespace: str = "shop") -> dict:
    """Its endpoints."""
    labels = {"kubernetes.io/service-name": name}
    metadata = {"name": f"{name}-1", "namespace": namespace, "labels": labels}
    return {"kind": "EndpointSlice", "metadata": metadata, "endpoints": [{"addresses": [ip]}]}


def a_group(name: str, cidr: str, **labels: str) -> dict:
    """A group of CIDRs."""
    metadata = {"name": name, "labels": labels}
    return {"kind": "CiliumCIDRGroup", "metadata": metadata, "spec": {"externalCIDRs": [cidr]}}


def to_service(name: str, namespace: str = "shop") -> list[dict]:
    """Egress to a service by its name."""
    return [{"toServices": [{"k8sService": {"serviceName": name, "namespace": namespace}}]}]


def to_services(namespace: str = "", **labels: str) -> list[dict]:
    """Egress to services by their labels."""
    peer = {"selector": {"matchLabels": labels}, "namespace": namespace}
    return [{"toServices": [{"k8sServiceSelector": peer}]}]


def to_groups(**labels: str) -> list[dict]:
    """Egress to groups of CIDRs by their labels."""
    return [{"toCIDRSet": [{"cidrGroupSelector": {"matchLabels": labels}}]}]


def a_repository(egress: list[dict], *objects: dict) -> Repository:
    """One policy and the objects, by kind and name."""
    repository = Repository()
    put(repository, a_policy(egress=egress), *objects)
    return repository


def put(repository: Repository, *objects: dict) -> None:
    for manifest in objects:
        metadata = manifest["metadata"]
        key = f"{manifest['kind']}/{metadata.get('namespace', '')}/{metadata['name']}"
        repository.apply(key, manifest, since=None)


def reaches(repository: Repository, ip: str) -> bool:
    query = a_query(OUTSIDE, direction=Direction.EGRESS, ip=ip)
    return decide(repository.subject(WEB).newest, query).decision is Outcome.ALLOWED


@pytest.mark.parametrize(
    ("egress", "other"),
    [
        (to_service("a"), a_slice("b", "10.0.0.9")),
        (to_service("a"), a_slice("a", "10.0.0.9", namespace="far")),
        (to_service("a"), a_service("a", namespace="far")),
        (to_service("a"), a_group("a", "10.0.0.0/8")),
        (to_services(tier="x"), a_service("b", tier="y")),
        (to_services("shop", tier="x"), a_service("b", namespace="far", tier="x")),
        (to_services(tier="x"), a_slice("b", "10.0.0.9")),
        (to_groups(tier="x"), a_group("b", "10.0.0.0/8", tier="y")),
        (to_groups(tier="x"), a_service("b", tier="x")),
        ([{"toCIDRSet": [{"cidrGroupRef": "a"}]}], a_group("b", "10.0.0.0/8")),
        ([{"toEntities": ["world"]}], a_slice("a", "10.0.0.9")),
    ],
)
def test_a_change_of_what_nobody_refers_to_concerns_nobody(egress: list, other: dict) -> None:
    """Though it is of a kind that a policy refers to."""
    objects = (a_service("a", tier="x"), a_slice("a", "10.0.0.1"), a_group("a", "10.1.0.0/16"))
    repository = a_repository(egress, *objects)
    before = repository.subject(WEB)
    put(repository, other)
    assert repository.subject(WEB) is before


@pytest.mark.parametrize(
    "egress",
    [
        to_service("a"),
        to_services(tier="x"),
        to_services("shop", tier="x"),
        [{"toServices": [{"k8sService": {"serviceName": "a"}}]}],
    ],
)
def test_endpoints_of_a_service_count_whenever_they_come(egress: list) -> None:
    """Before the service, after it, changed, and gone."""
    repository = a_repository(egress, a_slice("a", "10.0.0.1"))
    assert not reaches(repository, "10.0.0.1")
    put(repository, a_service("a", tier="x"))
    assert reaches(repository, "10.0.0.1")
    put(repository, a_slice("a", "10.0.0.2"))
    assert (reaches(repository, "10.0.0.1"), reaches(repository, "10.0.0.2")) == (False, True)
    repository.delete("EndpointSlice/shop/a-1", at=None)
    assert not reaches(repository, "10.0.0.2")


def test_a_service_that_gets_other_labels_is_another_ones() -> None:
    """What a selector means is looked up with the labels of the day."""
    repository = a_repository(to_services(tier="x"), a_service("a"), a_slice("a", "10.0.0.1"))
    assert not reaches(repository, "10.0.0.1")
    put(repository, a_service("a", tier="x"))
    assert reaches(repository, "10.0.0.1")
    put(repository, a_service("a", tier="y"))
    assert not reaches(repository, "10.0.0.1")


def test_groups_are_found_by_name_and_by_labels() -> None:
    """As services are."""
    group = a_group("a", "10.1.0.0/16", tier="x")
    for egress in (to_groups(tier="x"), [{"toCIDRSet": [{"cidrGroupRef": "a"}]}]):
        repository = a_repository(egress, group)
        assert reaches(repository, "10.1.2.3")
        put(repository, a_group("a", "10.2.0.0/16", tier="x"))
        assert (reaches(repository, "10.1.2.3"), reaches(repository, "10.2.2.3")) == (False, True)


def test_what_a_reference_meant_is_known_by_time() -> None:
    """A service's endpoints of yesterday explain what was stopped yesterday."""
    repository = a_repository(to_service("a"), a_service("a"))
    repository.apply("slice", a_slice("a", "10.0.0.1"), since=1000.0)
    repository.apply("slice", a_slice("a", "10.0.0.2"), since=2000.0)
    query = a_query(OUTSIDE, direction=Direction.EGRESS, ip="10.0.0.1")
    outcomes = [
        decide(repository.subject(WEB).in_force(at)[0], query).decision is Outcome.ALLOWED
        for at in (900.0, 1500.0, 2500.0)
    ]
    assert outcomes == [False, True, False]
