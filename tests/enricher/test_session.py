"""Batches over the log: what waits, what is tried again, what is put aside, what is told."""

import contextlib
from collections.abc import Iterator, Sequence

import pytest

from bus import port
from bus.embedded import EmbeddedLog
from enricher import events, explaining
from enricher.settings import EnricherSettings
from enricher.work import Work
from schemas import messages, topics
from schemas.picket.v1 import flows_pb2
from tests.enricher import builders, harness

FLOWS = port.Partition(topics.FLOWS.name, 0)
RETRY = topics.FLOWS_RETRY.name
RETRY_LATE = topics.FLOWS_RETRY_LATE.name


def policies(*manifests: dict) -> Sequence[port.Outgoing]:
    return (*(builders.a_policy_record(m) for m in manifests), builders.a_marker())


def total(stage: harness.Stage) -> int:
    return sum(match.count for match in stage.matches())


def test_no_flow_is_taken_before_the_marker(stage: harness.Stage) -> None:
    """Flows wait in the log until all policies are known, and the place in the group is kept."""
    stage.write(
        builders.a_policy_record(builders.a_policy()), builders.a_batch([builders.a_response()])
    )
    stage.run()
    assert stage.events() == []
    assert stage.log.lag("picket-enricher", [topics.FLOWS.name])[0].committed is None
    assert FLOWS in stage.session.assignment()
    stage.write(builders.a_marker())
    stage.run()
    assert total(stage) == 1


def test_only_flows_of_the_unknown_cluster_and_behind_them_wait(stage: harness.Stage) -> None:
    """What stands before them in the partition is taken."""
    stage.write(
        *policies(builders.a_policy()),
        builders.a_batch([builders.a_response()]),
        builders.a_batch([builders.a_response()], cluster="unknown-yet"),
        builders.a_batch([builders.a_response()]),
    )
    stage.run()
    assert total(stage) == 1
    stage.write(builders.a_marker("unknown-yet"))
    stage.run()
    assert total(stage) == 2


def test_waiting_for_policies_ends(stage: harness.Stage) -> None:
    """A cluster whose policies never come does not stop the others for ever: its flows are told."""
    old = builders.a_response(at=builders.NOON - 100)
    stage.write(
        *policies(builders.a_policy()),
        builders.a_batch([old], cluster="ghost"),
        builders.a_batch([old]),
    )
    stage.run()
    assert total(stage) == 0
    stage.hand.seconds += 601
    stage.run()
    assert total(stage) == 1
    assert stage.notices() == {("unexplained", "policies-not-known"): 1}


def test_a_young_flow_is_tried_again_after_5_and_60_seconds(stage: harness.Stage) -> None:
    """Nobody is told before both tries were in vain, and each try comes at its time."""
    stage.write(*policies(), builders.a_batch([builders.a_response()]))
    stage.run()
    (first,) = stage.batches(RETRY)
    assert (first.tries, first.due.seconds) == (1, int(builders.NOON) + 5)
    stage.hand.seconds += 4.9
    stage.run()
    assert stage.batches(RETRY_LATE) == []
    stage.hand.seconds += 0.2
    stage.run()
    (second,) = stage.batches(RETRY_LATE)
    assert (second.tries, second.due.seconds) == (2, int(stage.hand.seconds) + 60)
    assert stage.notices() == {}
    stage.hand.seconds += 60
    stage.run()
    assert stage.notices() == {("unexplained", "no-policy-selects"): 1}
    assert [
        lag.end - lag.committed for lag in stage.log.lag("picket-enricher", [RETRY, RETRY_LATE])
    ] == [0, 0]


def test_a_policy_that_comes_late_explains_what_waited(stage: harness.Stage) -> None:
    """The flow is counted in its own minute, once, and nobody hears of the delay."""
    stage.write(*policies(), builders.a_batch([builders.a_response()]))
    stage.run()
    stage.write(builders.a_policy_record(builders.a_policy(), since=builders.NOON - 2))
    stage.hand.seconds += 5.1
    stage.run()
    (match,) = stage.matches()
    assert (match.count, match.minute.timestamp()) == (1, builders.NOON - 60)
    assert stage.notices() == {}


def test_an_old_flow_is_told_at_once(stage: harness.Stage) -> None:
    """Whatever policy could explain it would be known by now."""
    stage.write(*policies(), builders.a_batch([builders.a_response(at=builders.NOON - 71)]))
    stage.run()
    assert stage.batches(RETRY) == []
    assert stage.notices() == {("unexplained", "no-policy-selects"): 1}


def test_many_retries_are_split_into_records(stage: harness.Stage) -> None:
    """No record of a retry topic is larger than those of the collector."""
    stage.write(*policies(), *(builders.a_batch([builders.a_response()] * 500) for _ in range(4)))
    stage.run()
    batches = stage.batches(RETRY)
    assert sum(len(batch.responses) for batch in batches) == 2000
    assert max(batch.ByteSize() for batch in batches) < 300 * 1024


@pytest.mark.parametrize("garbage", [b"", b"\xff\xff\xff", b"not a batch of flows", b"\x0a\x00"])
def test_a_garbage_record_is_a_dead_letter(stage: harness.Stage, garbage: bytes) -> None:
    """It is put aside with its coordinates, told of, and what comes after it is counted."""
    stage.write(
        *policies(builders.a_policy()),
        port.Outgoing(topic=topics.FLOWS.name, value=garbage),
        builders.a_batch([builders.a_response()]),
    )
    stage.run()
    assert total(stage) == 1
    (letter,) = stage.letters()
    assert (letter.stage, letter.topic, letter.partition, letter.offset) == (
        "enricher",
        topics.FLOWS.name,
        0,
        0,
    )
    assert stage.notices() == {("dead-letter", "unreadable-record"): 1}


@pytest.mark.parametrize("topic", [RETRY, RETRY_LATE])
def test_garbage_on_the_retry_topics_is_a_dead_letter(stage: harness.Stage, topic: str) -> None:
    """The enricher's own topics can hold garbage as well."""
    far = builders.a_time(builders.NOON + 10**8)
    wild = flows_pb2.FlowBatch(cluster="demo", responses=[builders.a_response()], due=far)
    stage.write(
        *policies(builders.a_policy()),
        port.Outgoing(topic=topic, value=b"\xff"),
        port.Outgoing(topic=topic, value=None),
        port.Outgoing(topic=topic, value=wild.SerializeToString()),
    )
    stage.run()
    assert len(stage.letters()) == 2
    assert total(stage) == 1


def test_a_broken_response_is_a_dead_letter(stage: harness.Stage) -> None:
    """The rest of its record is counted; the letter says which response it was."""
    good = builders.a_response()
    stage.write(*policies(builders.a_policy()), builders.a_batch([good, b"\x0a\xff", good]))
    stage.run()
    assert total(stage) == 2
    (letter,) = stage.letters()
    assert (letter.offset, letter.index, letter.size) == (0, 1, 2)
    assert stage.notices() == {("dead-letter", "unreadable-flow"): 1}


def test_a_fault_is_a_dead_letter_and_no_crash_loop(
    stage: harness.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The enricher goes on to the next flow."""

    def fail(*_: object) -> None:
        raise RuntimeError("a fault of ours")

    stage.write(*policies(builders.a_policy()), builders.a_batch([builders.a_response()]))
    with monkeypatch.context() as patch:
        patch.setattr(explaining.Explaining, "_explain", fail)
        stage.run()
    stage.write(builders.a_batch([builders.a_response()]))
    stage.run()
    assert total(stage) == 1
    assert [letter.reason for letter in stage.letters()] == ["RuntimeError: a fault of ours"]
    assert stage.notices() == {("dead-letter", "fault"): 1}


def test_lost_events_and_gaps_are_told(stage: harness.Stage) -> None:
    """With their node, their number and their reason."""
    gap = flows_pb2.Gap(node="demo/n1", reason="ring-overrun")
    getattr(gap, "from").CopyFrom(builders.a_time(builders.NOON - 50))
    gap.until.CopyFrom(builders.a_time(builders.NOON - 40))
    stage.write(
        *policies(),
        builders.a_batch([builders.a_lost_events(4399), builders.a_lost_events(1)], gaps=[gap]),
    )
    stage.run()
    (progress,) = stage.progress()
    told = {(n.kind.value, n.reason, n.node): n for n in progress.notices}
    assert told["lost-events", "hubble-ring-buffer", "demo/n2"].count == 4400
    one = told["gap", "ring-overrun", "demo/n1"]
    assert (one.first_seen.timestamp(), one.last_seen.timestamp()) == (
        builders.NOON - 50,
        builders.NOON - 40,
    )


def test_progress_says_state_and_flow_time(stage: harness.Stage) -> None:
    """As the collector said in the newest record of the partition."""
    stage.write(
        *policies(),
        builders.a_batch([], state=flows_pb2.CATCHING_UP, read_until=builders.NOON - 9),
        builders.a_batch([], state=flows_pb2.ENDED, read_until=builders.NOON - 3),
    )
    stage.run()
    progress = stage.progress()[-1]
    assert progress.state is messages.StreamState.ENDED
    assert progress.flow_time is not None
    assert progress.flow_time.timestamp() == builders.NOON - 3


def test_progress_is_told_once_a_second_and_what_is_kept_back_is_told_later(
    stage: harness.Stage,
) -> None:
    """Without news one message a second is enough, but the last word is never lost."""
    stage.write(*policies(builders.a_policy()))
    for number in range(5):
        stage.write(
            builders.a_batch([builders.a_response()], read_until=builders.NOON + number / 10)
        )
        stage.run()
    assert len(stage.progress()) == 1
    stage.hand.seconds += 1
    stage.run()
    told = stage.progress()
    assert [progress.flows for progress in told] == [1, 4]
    assert told[-1].flow_time.timestamp() == pytest.approx(builders.NOON + 0.4)


def test_a_change_of_state_is_told_at_once(stage: harness.Stage) -> None:
    """Whoever watches for quiet must know of blindness without delay."""
    stage.write(*policies(), builders.a_batch([]))
    stage.run()
    stage.write(builders.a_batch([], state=flows_pb2.BLIND))
    stage.run()
    assert [p.state.value for p in stage.progress()] == ["live", "blind"]


def test_retries_do_not_speak_for_a_partition_that_is_unknown(stage: harness.Stage) -> None:
    """What a retry has to tell goes with the partition whose state is known."""
    stage.write(*policies(), builders.a_batch([builders.a_response()], state=flows_pb2.CATCHING_UP))
    stage.run()
    stage.hand.seconds += 5.1
    stage.run()
    stage.hand.seconds += 60.1
    stage.run()
    assert {(p.partition, p.state.value) for p in stage.progress()} == {(0, "catching-up")}


def test_drops_without_policy_verdicts_are_told(stage: harness.Stage) -> None:
    """With policy-verdict events switched off nothing would ever be explained."""
    stage.write(*policies(), builders.a_batch([builders.a_response(event=1)] * 30))
    stage.run()
    assert stage.notices() == {("unexplained", "policy-verdict-events-off"): 30}


def test_drops_beside_verdicts_are_normal(stage: harness.Stage) -> None:
    """A single policy verdict proves that they are on."""
    responses = [builders.a_response(), *[builders.a_response(event=1)] * 30]
    stage.write(*policies(builders.a_policy()), builders.a_batch(responses))
    stage.run()
    stage.write(builders.a_batch([builders.a_response(event=1)] * 30))
    stage.run()
    assert stage.notices() == {}


def test_ids_say_fingerprint_and_offsets(stage: harness.Stage) -> None:
    """Whoever reads outside of Picket can drop what it has seen: one id is one count."""
    stage.write(*policies(builders.a_policy()))
    for _ in range(3):
        stage.write(builders.a_batch([builders.a_response()]))
        stage.run()
    ids = [event["id"] for event in stage.events() if event["type"] == messages.MATCH]
    assert len(set(ids)) == 3
    span = events.span({FLOWS: (1, 2)})
    assert ids[1] == f"{stage.matches()[0].fingerprint}-{int(builders.NOON) - 60}-{span}"


def test_deleted_records_are_a_gap(stage: harness.Stage) -> None:
    """Offsets that are gone are told for each cluster, and reading goes on."""
    stage.write(*policies(builders.a_policy()), builders.a_batch([builders.a_response()]))
    stage.run()
    stage.session._consumer.seek(FLOWS, 5000)
    stage.run()
    assert stage.notices() == {("gap", "log-out-of-range"): 1}
    stage.write(builders.a_batch([builders.a_response()]))
    stage.run()
    assert total(stage) == 2
    assert stage.notices() == {("gap", "log-out-of-range"): 1}


def test_a_policy_record_that_nobody_can_read_is_a_dead_letter(stage: harness.Stage) -> None:
    """Garbage on the policies topic is told, and the policies beside it hold."""
    stage.write(*policies(builders.a_policy()))
    stage.run()
    stage.write(
        port.Outgoing(topic=topics.POLICIES.name, key=b"demo/x/y/z", value=b"{"),
        port.Outgoing(topic=topics.POLICIES.name, key=b"\xff", value=b"{}"),
        builders.a_batch([builders.a_response()]),
    )
    stage.run()
    stage.run()
    assert len(stage.letters()) == 2
    assert stage.notices() == {("dead-letter", "unreadable-policy"): 2}
    assert total(stage) == 1


def test_a_batch_that_was_not_committed_is_read_again(
    stage: harness.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log goes away in the middle of a transaction: the next session counts it all, once."""

    @contextlib.contextmanager
    def away(_: object) -> Iterator[port.Transaction]:
        raise port.Unavailable("gone")
        yield

    stage.write(*policies(builders.a_policy()), builders.a_batch([builders.a_response()] * 10))
    with monkeypatch.context() as patch:
        patch.setattr("bus.embedded_producing.Producer.transaction", away)
        with pytest.raises(port.Unavailable):
            stage.run()
    assert stage.events() == []
    stage.leave()
    stage.run()
    assert total(stage) == 10
    assert sum(progress.flows for progress in stage.progress()) == 10


def test_a_takeover_before_the_commit_counts_once(
    stage: harness.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old owner cannot commit what the new one has counted."""
    stage.write(*policies(builders.a_policy()))
    stage.run()
    old, commit = stage.session, stage.session._commit

    def too_late(work: Work, began: float) -> bool:
        # Another process: it shares nothing with the old one but the log.
        stage.session, stage.matchings = None, {}
        stage.hand.seconds += 30
        stage.run()
        return commit(work, began)

    monkeypatch.setattr(old, "_commit", too_late)
    stage.write(builders.a_batch([builders.a_response()] * 10))
    with pytest.raises(port.Fenced):
        old.step()
    assert total(stage) == 10
    old.close()


def test_a_partition_taken_away_in_the_middle_of_a_batch(
    stage: harness.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the batch is forgotten, and read again where the partitions are still held."""
    stage.write(*policies(builders.a_policy()))
    stage.run()
    session = stage.session
    poll = session._poll
    retry = port.Partition(RETRY, 0)
    polls = []

    def with_a_rebalance(work: Work, timeout: float) -> Sequence[port.Record]:
        records = poll(work, timeout)
        polls.append(len(records))
        if len(polls) == 2:
            work.took(port.Record(partition=retry, offset=0, key=None, value=b""))
            session._changes.on_revoked(frozenset({retry}))
        return records

    stage.write(builders.a_batch([builders.a_response()] * 10))
    with monkeypatch.context() as patch:
        patch.setattr(session, "_poll", with_a_rebalance)
        assert session.step() is False
    assert polls == [1, 0]
    assert stage.events() == []
    stage.run()
    assert total(stage) == 10


def test_a_standby_takes_nothing(stage: harness.Stage) -> None:
    """A second enricher over one partition waits without a producer: it fences nobody."""
    stage.write(*policies(builders.a_policy()))
    stage.run()
    first, stage.session = stage.session, None
    stage.write(builders.a_batch([builders.a_response()]))
    stage.run()
    assert stage.session.assignment() == frozenset()
    assert stage.events() == []
    stage.leave()
    stage.session = first
    stage.run()
    assert total(stage) == 1


def test_a_large_backlog_is_several_batches(stage: harness.Stage) -> None:
    """A batch is bounded by bytes, and all of them are counted."""
    stage.settings = EnricherSettings(batch_bytes=1024 * 1024)
    stage.write(
        *policies(builders.a_policy()),
        *(builders.a_batch([builders.a_response()] * 300) for _ in range(160)),
    )
    stage.run()
    assert total(stage) == 300 * 160
    assert len(stage.matches()) > 1


def test_the_lag_is_none_in_the_end(stage: harness.Stage) -> None:
    """All that was read is committed."""
    assert isinstance(stage.log, EmbeddedLog)
    stage.write(*policies(builders.a_policy()), builders.a_batch([builders.a_response()]))
    stage.run()
    (lag,) = stage.log.lag("picket-enricher", [topics.FLOWS.name])
    assert lag.end == lag.committed
