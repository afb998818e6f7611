"""What is published, by what is known and what is wanted."""

import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent import kinds, plan
from schemas import messages

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)
NOTHING = plan.Known(objects={})


def an_identity(name="web"):
    return kinds.Identity("CiliumNetworkPolicy", "shop", name)


def wanted(name="web", *, spec="a", path="web.yaml", line=1, changed_at=None, created=None):
    metadata = {"name": name, "namespace": "shop"}
    if created is not None:
        metadata["creationTimestamp"] = created.isoformat()
    manifest = {"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    provenance = messages.Provenance(path=path, line=line)
    return plan.Wanted(manifest=manifest, provenance=provenance, changed_at=changed_at)


def make(known, *wants, held_paths=(), held=(), now=NOW, max_bytes=1 << 22, uid=""):
    return plan.make(
        cluster="demo",
        cluster_uid=uid,
        known=known,
        wanted={an_identity(want.manifest["metadata"]["name"]): want for want in wants},
        held_paths=set(held_paths),
        held=set(held),
        now=now,
        max_bytes=max_bytes,
    )


def since(made, name="web"):
    return made.after.objects[an_identity(name)].since


def keys(made):
    return [
        (item.key.removeprefix("demo/CiliumNetworkPolicy/shop/"), item.value is None)
        for item in made.publications
    ]


def test_the_marker_comes_after_everything():
    """Who sees the marker has seen the whole cluster."""
    made = make(NOTHING, wanted("a"), wanted("b"))
    assert keys(made) == [("a", False), ("b", False), ("demo/synced", False)]
    assert json.loads(made.publications[-1].value)["objects"] == 2


def test_nothing_is_published_twice():
    """A second look at the same folder writes nothing."""
    again = make(make(NOTHING, wanted()).after, wanted())
    assert again.publications == ()


def test_a_first_version_holds_for_ever():
    """Without a creationTimestamp nobody can say when it began."""
    assert since(make(NOTHING, wanted())) is None


def test_a_first_version_holds_from_its_creation():
    """Even where managedFields tell of a later change: of that change nothing is known."""
    made = make(NOTHING, wanted(created=EARLIER, changed_at=NOW))
    assert since(made) == EARLIER


def test_a_later_version_holds_from_its_newest_change():
    """What the API server noted is nearer to the truth than when the file was read."""
    first = make(NOTHING, wanted(created=EARLIER)).after
    changed = NOW - timedelta(minutes=5)
    assert since(make(first, wanted(spec="b", changed_at=changed, created=EARLIER))) == changed


def test_a_later_version_without_a_time_holds_from_now():
    """Nothing else is known of a file that somebody edited."""
    first = make(NOTHING, wanted()).after
    assert since(make(first, wanted(spec="b"))) == NOW


def test_a_stale_time_in_an_edited_file_is_not_believed():
    """Times that were copied along are no newer than the version they came with."""
    first = make(NOTHING, wanted(created=NOW - timedelta(hours=1))).after
    edited = wanted(spec="b", changed_at=EARLIER, created=NOW - timedelta(hours=1))
    assert since(make(first, edited)) == NOW


def test_a_moved_manifest_keeps_its_time():
    """Another line or file is news for the reader, not for the flows."""
    first = make(NOTHING, wanted(created=EARLIER)).after
    made = make(first, wanted(created=EARLIER, path="other.yaml", line=7))
    assert since(made) == EARLIER
    assert made.after.objects[an_identity()].provenance.path == "other.yaml"
    assert len(made.publications) == 1


def test_what_is_gone_is_told_before_its_tombstone():
    """The time of the end comes first, then the record that empties the key."""
    first = make(NOTHING, wanted("a"), wanted("b")).after
    made = make(first, wanted("a"))
    assert keys(made) == [("b", False), ("b", True), ("demo/synced", False)]
    assert messages.PolicyDeleted.model_validate_json(made.publications[0].value).at == NOW


def test_what_comes_back_did_not_hold_in_between():
    """An object that was deleted starts anew, though it has no creationTimestamp."""
    gone = make(make(NOTHING, wanted()).after).after
    assert since(make(gone, wanted())) == NOW


def test_what_a_broken_file_held_stays():
    """A file that cannot be read says nothing about what was in it."""
    first = make(NOTHING, wanted("a", path="a.yaml"), wanted("b", path="b.yaml")).after
    made = make(first, wanted("b", path="b.yaml"), held_paths=["a.yaml"])
    assert made.publications == ()
    assert an_identity("a") in made.after.objects


def test_an_object_in_two_files_stays_as_it_was():
    """Until one of them goes, neither is believed."""
    first = make(NOTHING, wanted("a")).after
    assert make(first, held=[an_identity("a")]).publications == ()


def test_an_object_that_no_record_can_carry_is_rejected():
    """What was known of it stays in force."""
    first = make(NOTHING, wanted()).after
    made = make(first, wanted(spec="x" * 200_000), max_bytes=100_000)
    assert made.publications == ()
    assert made.rejected[0].identity == an_identity()
    assert made.after.objects == first.objects


def test_bookkeeping_makes_no_version():
    """A new resourceVersion or status is no change of what is meant."""
    first = make(NOTHING, wanted()).after
    touched = wanted()
    touched.manifest["metadata"]["resourceVersion"] = "7"
    touched.manifest["status"] = {"valid": True}
    assert make(first, touched).publications == ()


SPECS = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("xyz"))


@given(st.lists(SPECS, max_size=6))
def test_a_reader_of_the_topic_always_ends_with_what_the_folder_says(folders):
    """Whatever the sequence of folders, folding the records gives the last one."""
    known = NOTHING
    table = {}
    for folder in folders:
        made = make(known, *(wanted(name, spec=spec) for name, spec in folder.items()))
        known = made.after
        for item in made.publications:
            table[item.key] = item.value
        specs = {
            key.rpartition("/")[2]: json.loads(value)["manifest"]["spec"]
            for key, value in table.items()
            if value is not None and not key.endswith("/synced")
        }
        assert specs == folder
