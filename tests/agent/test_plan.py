"""What is published, by what is known and what is wanted."""

import dataclasses
import json
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from agent import kinds, plan, versions
from schemas import messages

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
EARLIER = NOW - timedelta(days=1)


def an_identity(name="web"):
    return kinds.Identity("CiliumNetworkPolicy", "shop", name)


def wanted(name="web", *, spec="a", path="web.yaml", line=1, changed_at=None, created=None):
    metadata = {"name": name, "namespace": "shop"}
    if created is not None:
        metadata["creationTimestamp"] = created.isoformat()
    manifest = {"kind": "CiliumNetworkPolicy", "metadata": metadata, "spec": spec}
    return plan.Wanted(
        manifest=manifest,
        meaning=versions.meaning(manifest),
        provenance=messages.Provenance(path=path, line=line),
        changed_at=changed_at,
        created_at=created,
    )


def name_of(want):
    return an_identity(want.manifest["metadata"]["name"])


def nothing():
    return plan.Known()


def after(made, known=None):
    """What is known once a plan is written."""
    known = known or nothing()
    whole = plan.Known(objects=dict(known.objects), gone=set(known.gone), synced=known.synced)
    whole.take(made)
    return whole


def of_news(known, *news, complete=True, now=NOW, max_bytes=1 << 22, uid=""):
    return plan.make(
        cluster="demo",
        cluster_uid=uid,
        known=known,
        news=news,
        complete=complete,
        now=now,
        max_bytes=max_bytes,
    )


def make(known, *wants, held_paths=(), held=(), now=NOW, **others):
    """A plan for a source that has exactly these."""
    changes = [plan.Change(name_of(want), want, now) for want in wants]
    present = {name_of(want) for want in wants} | set(held)
    whole = plan.Whole(present=present, held_paths=set(held_paths), at=now)
    return of_news(known, *changes, whole, now=now, **others)


def since(made, name="web"):
    return made.entries[an_identity(name)].since


def keys(made):
    return [
        (item.key.removeprefix("demo/CiliumNetworkPolicy/shop/"), item.value is None)
        for item in made.publications
    ]


def test_the_marker_comes_after_everything():
    """Who sees the marker has seen the whole cluster."""
    made = make(nothing(), wanted("a"), wanted("b"))
    assert keys(made) == [("a", False), ("b", False), ("demo/synced", False)]
    assert json.loads(made.publications[-1].value)["objects"] == 2


def test_nothing_is_published_twice():
    """A second look at the same folder writes nothing."""
    again = make(after(make(nothing(), wanted())), wanted())
    assert again.publications == ()


def test_a_first_version_holds_for_ever():
    """Without a creationTimestamp nobody can say when it began."""
    assert since(make(nothing(), wanted())) is None


def test_a_first_version_holds_from_its_creation():
    """Even where managedFields tell of a later change: of that change nothing is known."""
    made = make(nothing(), wanted(created=EARLIER, changed_at=NOW))
    assert since(made) == EARLIER


def test_a_later_version_holds_from_its_newest_change():
    """What the API server noted is nearer to the truth than when the file was read."""
    first = after(make(nothing(), wanted(created=EARLIER)))
    changed = NOW - timedelta(minutes=5)
    assert since(make(first, wanted(spec="b", changed_at=changed, created=EARLIER))) == changed


def test_a_later_version_without_a_time_holds_from_now():
    """Nothing else is known of a file that somebody edited."""
    first = after(make(nothing(), wanted()))
    assert since(make(first, wanted(spec="b"))) == NOW


def test_a_stale_time_in_an_edited_file_is_not_believed():
    """Times that were copied along are no newer than the version they came with."""
    first = after(make(nothing(), wanted(created=NOW - timedelta(hours=1))))
    edited = wanted(spec="b", changed_at=EARLIER, created=NOW - timedelta(hours=1))
    assert since(make(first, edited)) == NOW


def test_a_moved_manifest_keeps_its_time():
    """Another line or file is news for the reader, not for the flows."""
    first = after(make(nothing(), wanted(created=EARLIER)))
    made = make(first, wanted(created=EARLIER, path="other.yaml", line=7))
    assert since(made) == EARLIER
    assert made.entries[an_identity()].provenance.path == "other.yaml"
    assert len(made.publications) == 1


def test_what_is_gone_is_told_before_its_tombstone():
    """The time of the end comes first, then the record that empties the key."""
    first = after(make(nothing(), wanted("a"), wanted("b")))
    made = make(first, wanted("a"))
    assert keys(made) == [("b", False), ("b", True), ("demo/synced", False)]
    assert messages.PolicyDeleted.model_validate_json(made.publications[0].value).at == NOW


def test_what_comes_back_did_not_hold_in_between():
    """An object that was deleted starts anew, though it has no creationTimestamp."""
    known = after(make(nothing(), wanted()))
    gone = after(make(known), known)
    assert since(make(gone, wanted())) == NOW


def test_what_a_broken_file_held_stays():
    """A file that cannot be read says nothing about what was in it."""
    first = after(make(nothing(), wanted("a", path="a.yaml"), wanted("b", path="b.yaml")))
    made = make(first, wanted("b", path="b.yaml"), held_paths=["a.yaml"])
    assert made.publications == ()
    assert an_identity("a") in after(made, first).objects


def test_an_object_in_two_files_stays_as_it_was():
    """Until one of them goes, neither is believed."""
    first = after(make(nothing(), wanted("a")))
    assert make(first, held=[an_identity("a")]).publications == ()


def test_an_object_that_no_record_can_carry_is_rejected():
    """What was known of it stays in force."""
    first = after(make(nothing(), wanted()))
    made = make(first, wanted(spec="x" * 200_000), max_bytes=100_000)
    assert made.publications == ()
    assert made.rejected[0].identity == an_identity()
    assert made.entries == {}


def test_bookkeeping_makes_no_version():
    """A new resourceVersion or status is no change of what is meant."""
    first = after(make(nothing(), wanted()))
    manifest = wanted().manifest
    touched = {
        **manifest,
        "metadata": {**manifest["metadata"], "resourceVersion": "7", "generation": 3},
        "status": {"valid": True},
    }
    want = dataclasses.replace(wanted(), manifest=touched, meaning=versions.meaning(touched))
    assert make(first, want).publications == ()


def test_only_the_news_are_looked_at():
    """One change among many publishes one record, and says nothing of the others."""
    known = after(make(nothing(), *(wanted(str(n)) for n in range(20))))
    made = of_news(known, plan.Change(an_identity("7"), wanted("7", spec="b"), NOW))
    assert keys(made) == [("7", False)]
    assert made.entries.keys() == {an_identity("7")}


def test_news_are_taken_in_order():
    """What comes and goes and comes again within one reading ends as it ended."""
    change = plan.Change(an_identity(), wanted(), NOW)
    gone = plan.Change(an_identity(), None, NOW)
    made = of_news(nothing(), change, gone, change)
    web, tombstone, marker = ("web", False), ("web", True), ("demo/synced", False)
    assert keys(made) == [web, web, tombstone, web, marker]
    assert after(made).objects.keys() == {an_identity()}
    assert json.loads(made.publications[-1].value)["objects"] == 1


def test_an_incomplete_source_gets_no_marker():
    """Who sees the marker would believe that the rest does not exist."""
    made = of_news(nothing(), plan.Change(an_identity(), wanted(), NOW), complete=False)
    assert keys(made) == [("web", False)]
    assert made.synced is None


def test_a_whole_kind_says_nothing_of_other_kinds():
    """Policies that were all listed do not end the services."""
    other = kinds.Identity("Service", "shop", "web")
    known = nothing()
    news = [plan.Change(identity, wanted(), NOW) for identity in (an_identity(), other)]
    known.take(of_news(known, *news))
    whole = plan.Whole(present=frozenset(), at=NOW, kinds={"CiliumNetworkPolicy"})
    made = of_news(known, whole)
    assert made.entries == {an_identity(): None}


def test_what_follows_a_whole_kind_is_not_gone():
    """An object that came after the list was made, in the same reading."""
    whole = plan.Whole(present=frozenset(), at=NOW)
    made = of_news(nothing(), whole, plan.Change(an_identity(), wanted(), NOW))
    assert after(made).objects.keys() == {an_identity()}


def test_a_deletion_holds_from_when_it_was_seen():
    """The log may have been away since."""
    known = after(make(nothing(), wanted()))
    made = of_news(known, plan.Change(an_identity(), None, EARLIER))
    assert messages.PolicyDeleted.model_validate_json(made.publications[0].value).at == EARLIER


SPECS = st.dictionaries(st.sampled_from("abcde"), st.sampled_from("xyz"))


@given(st.lists(SPECS, max_size=6))
def test_a_reader_of_the_topic_always_ends_with_what_the_folder_says(folders):
    """Whatever the sequence of folders, folding the records gives the last one."""
    known = nothing()
    table = {}
    for folder in folders:
        made = make(known, *(wanted(name, spec=spec) for name, spec in folder.items()))
        known.take(made)
        for item in made.publications:
            table[item.key] = item.value
        specs = {
            key.rpartition("/")[2]: json.loads(value)["manifest"]["spec"]
            for key, value in table.items()
            if value is not None and not key.endswith("/synced")
        }
        assert specs == folder
