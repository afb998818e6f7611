"""Whatever the log does, each flow stands in it once, and relay waits only when the buffer is full."""

import contextlib
import threading
from enum import Enum

import pytest

from bus import port
from collector import writing
from runtime.errors import UserError
from schemas import topics
from schemas.picket.v1 import flows_pb2
from tests.collector import harness
from tests.collector.builders import fresh

pytestmark = pytest.mark.slow


class Fate(Enum):
    """What becomes of a commit."""

    FINE = 0
    LOST = 1
    ANSWER_LOST = 2


class Fickle:
    """A log whose commits fail as told."""

    def __init__(self, inner):
        self.inner = inner
        self.fates: list[Fate] = []
        self.away = threading.Event()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def producer(self, transactional_id):
        if self.away.is_set():
            raise port.Unavailable("away")
        return _Producer(self, self.inner.producer(transactional_id))


class _Producer:
    def __init__(self, log, inner):
        self.log, self.inner = log, inner

    @contextlib.contextmanager
    def transaction(self):
        if self.log.away.is_set():
            raise port.Unavailable("away")
        fate = self.log.fates.pop(0) if self.log.fates else Fate.FINE
        try:
            with self.inner.transaction() as transaction:
                yield transaction
                if fate is Fate.LOST:
                    raise _Aborted  # noqa: TRY301 - aborts the inner transaction
        except _Aborted:
            raise port.Unavailable("aborted") from None
        if fate is Fate.ANSWER_LOST:
            raise port.Unavailable("the answer was lost")

    def close(self):
        self.inner.close()


class _Aborted(Exception):
    pass


def test_a_commit_of_unknown_fate_neither_loses_nor_doubles(log, relay):
    """The log itself tells whether the transaction is there."""
    fickle = Fickle(log)
    written = harness.Written(log)
    flows = []
    with harness.collecting(fickle, relay=relay.address) as run:
        for fate in (Fate.LOST, Fate.ANSWER_LOST) * 3:
            failures = run.metric("log_failures_total")
            fickle.fates = [fate]
            flows += (more := fresh(20))
            relay.emit(*more)
            written.wait_for(len(flows))
            harness.wait_for(lambda before=failures: run.metric("log_failures_total") > before)
    assert written.counts() == {flow.uuid: 1 for flow in flows}


@pytest.mark.parametrize("fate", [Fate.LOST, Fate.ANSWER_LOST])
def test_a_transaction_is_not_taken_for_one_that_looks_the_same(log, fate):
    """Two that hold no flow may be alike to the byte: only dead letters tell them apart."""
    fickle = Fickle(log)
    writer = writing.Writer(log=fickle, cluster="demo")
    writer.open()
    batch = port.Outgoing(topic=topics.FLOWS.name, value=b"no flow", partition=0)
    fickle.fates = [Fate.FINE, fate]
    writer.write([batch])
    with pytest.raises(port.Unavailable):
        writer.write([batch])
    writer.open()
    assert writer.is_written(since={}) is (fate is Fate.ANSWER_LOST)
    writer.close()


def test_while_the_log_is_away_flows_are_held(log, relay):
    """The stream is read on; all of it arrives when the log is back."""
    fickle = Fickle(log)
    written = harness.Written(log)
    with harness.collecting(fickle, relay=relay.address) as run:
        relay.emit(*(flows := fresh(5)))
        harness.wait_for(lambda: len(written.uuids()) == 5)
        fickle.away.set()
        sent = relay.sent
        flows += (more := fresh(500))
        relay.emit(*more)
        harness.wait_for(lambda: relay.sent >= sent + 500)
        harness.wait_for(lambda: run.metric("log_failures_total") >= 2)
        fickle.away.clear()
        harness.wait_for(lambda: len(written.uuids()) == 505)
    assert written.counts() == {flow.uuid: 1 for flow in flows}
    assert not written.gaps()


def test_a_full_buffer_makes_relay_wait(log, relay):
    """No more is received than the buffer, and what gRPC holds besides, can take."""
    fickle = Fickle(log)
    written = harness.Written(log)
    relay.node(capacity=65535)
    large = [{"Summary": "x" * 20_000}]
    with harness.collecting(fickle, relay=relay.address, buffer_bytes=1 << 20):
        relay.emit(*fresh(1))
        harness.wait_for(lambda: len(written.uuids()) == 1)
        fickle.away.set()
        flows = [flow for fields in large for flow in fresh(2000, **fields)]
        relay.emit(*flows)
        seen = []

        def stands_still():
            seen.append(relay.sent)
            return len(seen) > 50 and seen[-1] == seen[-40]

        harness.wait_for(stands_still)
        assert relay.sent < 1000
        fickle.away.clear()
        harness.wait_for(lambda: len(written.uuids()) == 2001)
    assert set(written.counts().values()) == {1}


def test_a_standby_bridges_what_the_rings_cannot(log, relay):
    """Its stream was attached all along, so a tiny ring loses nothing at a takeover."""
    relay.node(capacity=5)
    active = log.consumer("picket-collector-demo", [topics.COLLECTOR.name])
    harness.wait_for(lambda: active.poll(timeout=0.1) is not None and active.assignment())
    written = harness.Written(log)
    with harness.collecting(log, relay=relay.address):
        harness.wait_for(lambda: relay.open_streams == 1)
        flows = []
        for _ in range(20):
            flows += (more := fresh(5))
            before = relay.sent
            relay.emit(*more)
            harness.wait_for(lambda sent=before: relay.sent >= sent + 5)
            active.poll(timeout=0)
        assert not written.uuids()
        active.close()
        harness.wait_for(lambda: len(written.uuids()) == 100)
    assert written.counts() == {flow.uuid: 1 for flow in flows}


def test_two_collectors_of_one_cluster_write_each_flow_once(log, relay):
    """One is active; when it stops the other goes on, with nothing twice and no gap."""
    written = harness.Written(log)
    first = harness.collecting(log, relay=relay.address)
    with harness.collecting(log, relay=relay.address), first as other:
        flows = []
        for round_ in range(3):
            flows += (more := fresh(30))
            relay.emit(*more)
            written.wait_for(len(flows))
            if round_ == 1:
                other.finish()
    assert written.counts() == {flow.uuid: 1 for flow in flows}
    assert not written.gaps()


def test_a_fenced_collector_stands_by(log, relay):
    """It writes nothing more until it holds the lease again."""
    written = harness.Written(log)
    with harness.collecting(log, relay=relay.address) as run:
        relay.emit(*(flows := fresh(10)))
        harness.wait_for(lambda: len(written.uuids()) == 10)
        thief = log.producer("picket-collector-demo")
        flows += (more := fresh(10))
        relay.emit(*more)
        harness.wait_for(lambda: run.metric("active") == 0)
        thief.close()
        harness.wait_for(lambda: len(written.uuids()) == 20)
        assert run.metric("active") == 1
    assert written.counts() == {flow.uuid: 1 for flow in flows}


def test_where_standing_by_is_not_allowed_a_second_collector_is_an_error(log, relay):
    """One clear line names the cluster."""
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: run.metric("active") == 1)
        with pytest.raises(UserError, match="another collector of cluster demo is active"):
            harness.collected(log, relay=relay.address, standby=False)


def test_a_second_cluster_of_the_same_name_is_refused(log, relay):
    """The name is bound to the UID of kube-system by the first checkpoint."""
    with harness.collecting(log, relay=relay.address, cluster_uid="one"):
        relay.emit(*fresh(1))
        harness.wait_for(lambda: harness.Written(log).checkpoint())
        with pytest.raises(UserError, match="UID one; this cluster's is two"):
            harness.collected(log, relay=relay.address, cluster_uid="two")
    with pytest.raises(UserError, match="--cluster"):
        harness.collected(log, relay=relay.address, cluster_uid="two")
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: run.metric("active") == 1)
    assert harness.Written(log).checkpoint().cluster_uid == "one"


def test_two_clusters_share_a_log(log, relay):
    """Each has its own lease, checkpoint and uuids."""
    written = harness.Written(log)
    with (
        harness.collecting(log, relay=relay.address, cluster="east"),
        harness.collecting(log, relay=relay.address, cluster="west"),
    ):
        relay.emit(*(flows := fresh(10)))
        harness.wait_for(lambda: len(written.uuids()) == 20)
    assert written.counts() == {flow.uuid: 2 for flow in flows}
    for cluster in ("east", "west"):
        mine = [batch for batch in written.batches() if batch.cluster == cluster]
        assert sum(len(batch.responses) for batch in mine) == 10


def test_records_stay_near_the_wished_size(log, relay):
    """A burst is split, in order; a response too large for any record is a dead letter."""
    written = harness.Written(log)
    relay.emit(*(flows := fresh(40, Summary="x" * 1000)))
    too_large = fresh(1, Summary="y" * (1 << 20))
    relay.emit(*too_large, *(last := fresh(1)))
    with harness.collecting(log, relay=relay.address, batch_bytes=8192):
        harness.wait_for(lambda: last[0].uuid in written.counts())
        (letter,) = harness.wait_for(written.letters)
    assert written.uuids() == [flow.uuid for flow in flows + last]
    assert max(batch.ByteSize() for batch in written.batches()) < 9000
    assert (letter.stage, letter.reason) == ("collector", "too large for a record")


def test_a_stopped_collector_leaves_a_blind_stream(log, relay):
    """After its last batch nobody sees what happens."""
    written = harness.Written(log)
    with harness.collecting(log, relay=relay.address) as run:
        harness.wait_for(lambda: run.metric("active") == 1)
        harness.wait_for(lambda: flows_pb2.LIVE in written.states())
    assert written.states()[-1] == flows_pb2.BLIND
