"""The policies topic as the enricher knows it."""

import pytest

from bus import port
from enricher.clusters import Clusters, Unreadable
from policies.labels import LabelSet
from schemas import topics
from tests.enricher import builders, harness

BACKEND = LabelSet.of(builders.pod_labels("backend"))


def known(stage: harness.Stage) -> Clusters:
    stage.open()
    return stage.clusters


def names(clusters: Clusters, at: float = builders.NOON) -> list[str]:
    at_the_time, *_ = clusters.get("demo").repository.subject(BACKEND).in_force(at)
    return sorted(ref.name for ref in at_the_time.policies)


def test_a_policy_that_was_deleted_before_the_start_is_not_known(stage: harness.Stage) -> None:
    """Its tombstone comes before the marker, and nothing of it is left."""
    gone, kept = builders.a_policy("gone"), builders.a_policy("kept")
    stage.write(
        builders.a_policy_record(gone),
        builders.a_policy_record(kept),
        builders.a_deletion(gone, at=builders.NOON - 100),
        builders.a_tombstone(gone),
        builders.a_marker(),
    )
    clusters = known(stage)
    assert clusters.get("demo").synced
    assert names(clusters) == ["kept"]


def test_a_deletion_holds_from_its_own_time(stage: harness.Stage) -> None:
    """Not from when its tombstone was written: flows of before are explained by what held then."""
    policy = builders.a_policy("gone")
    stage.write(builders.a_policy_record(policy), builders.a_marker())
    clusters = known(stage)
    stage.write(builders.a_deletion(policy, at=builders.NOON - 100), builders.a_tombstone(policy))
    clusters.follow()
    assert names(clusters, builders.NOON - 110) == ["gone"]
    assert names(clusters, builders.NOON - 90) == []


def test_the_time_that_was_said_wins_over_the_tombstones(stage: harness.Stage) -> None:
    """Even where the log's clock is behind."""
    policy = builders.a_policy("gone")
    stage.write(builders.a_policy_record(policy), builders.a_marker())
    clusters = known(stage)
    stage.write(builders.a_deletion(policy, at=builders.NOON + 60), builders.a_tombstone(policy))
    clusters.follow()
    assert names(clusters, builders.NOON + 50) == ["gone"]
    assert names(clusters, builders.NOON + 70) == []


def test_a_bare_tombstone_holds_from_when_it_was_written(stage: harness.Stage) -> None:
    """Better late than never, where nobody said when."""
    policy = builders.a_policy("gone")
    stage.write(builders.a_policy_record(policy), builders.a_marker())
    clusters = known(stage)
    stage.write(builders.a_tombstone(policy))
    clusters.follow()
    assert names(clusters, builders.NOON - 10) == ["gone"]
    assert names(clusters, builders.NOON + 10) == []


def test_a_policy_that_came_back_is_known(stage: harness.Stage) -> None:
    """Deleted and made again under the same name."""
    policy = builders.a_policy("back")
    stage.write(
        builders.a_policy_record(policy, since=builders.NOON - 300),
        builders.a_deletion(policy, at=builders.NOON - 200),
        builders.a_policy_record(policy, since=builders.NOON - 100),
        builders.a_marker(),
    )
    clusters = known(stage)
    held = {age: names(clusters, builders.NOON - age) for age in (250, 150, 50)}
    assert held == {250: ["back"], 150: [], 50: ["back"]}


def test_clusters_are_apart(stage: harness.Stage) -> None:
    """One cluster's marker says nothing of another's, nor do its policies."""
    stage.write(
        builders.a_policy_record(builders.a_policy("one")),
        builders.a_marker(),
        builders.a_policy_record(builders.a_policy("two"), cluster="other"),
    )
    clusters = known(stage)
    assert names(clusters) == ["one"]
    assert clusters.names() == ("demo",)
    assert not clusters.get("other").synced


def test_a_withdrawn_marker_stops_the_cluster(stage: harness.Stage) -> None:
    """The cluster was taken out of service: what comes now has to wait."""
    stage.write(builders.a_marker())
    clusters = known(stage)
    stage.write(port.Outgoing(topic=topics.POLICIES.name, key=b"demo/synced", value=None))
    clusters.follow()
    assert not clusters.get("demo").synced


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"demo/CiliumNetworkPolicy/shop/x", b"{"),
        (b"demo/CiliumNetworkPolicy/shop/x", b"[1]"),
        (b"demo/CiliumNetworkPolicy/shop/x", b'{"cluster": "demo"}'),
        (b"demo/CiliumNetworkPolicy/shop/x", b"[" * 100_000),
        (b"demo/CiliumNetworkPolicy/shop/x", b'{"deleted": true}'),
        (b"demo/synced", b'{"synced": true}'),
        (b"demo/synced", b"17"),
        (b"\xff\xfe", b"{}"),
        (b"demo", b"{}"),
        (b"/x/y/z", b"{}"),
    ],
)
def test_garbage_is_told_and_passed_over(stage: harness.Stage, key: bytes, value: bytes) -> None:
    """What stands beside it is known."""
    stage.write(
        port.Outgoing(topic=topics.POLICIES.name, key=key, value=value),
        builders.a_policy_record(builders.a_policy("kept")),
    )
    clusters = known(stage)
    assert names(clusters) == ["kept"]
    (told,) = stage.unreadable
    assert isinstance(told, Unreadable)


def test_a_policy_that_cilium_refuses_is_no_garbage(stage: harness.Stage) -> None:
    """Its owner made a mistake: it holds for nobody, and the log is fine."""
    broken = builders.a_policy("broken")
    broken["spec"] = {"ingress": [{}]}
    stage.write(
        builders.a_policy_record(broken), builders.a_policy_record(builders.a_policy("kept"))
    )
    assert names(known(stage)) == ["kept"]
    assert stage.unreadable == []


def test_a_policy_of_a_megabyte_is_known(stage: harness.Stage) -> None:
    """Nothing about size is special."""
    cidrs = [f"10.{n // 256 % 256}.{n % 256}.0/24" for n in range(50_000)]
    large = builders.a_policy("large", ingress=[{"fromCIDR": cidrs}])
    stage.write(builders.a_policy_record(large))
    assert names(known(stage)) == ["large"]


def test_old_versions_are_forgotten(stage: harness.Stage) -> None:
    """No flow in the log is as old as that."""
    policy = builders.a_policy("old")
    stage.write(
        builders.a_policy_record(policy, since=builders.NOON - 900_000),
        builders.a_deletion(policy, at=builders.NOON - 800_000),
        builders.a_marker(),
    )
    clusters = known(stage)
    assert names(clusters, builders.NOON - 850_000) == ["old"]
    clusters.prune(builders.NOON)
    assert names(clusters, builders.NOON - 850_000) == []
