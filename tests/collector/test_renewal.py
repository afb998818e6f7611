"""Certificates for relay change while flows come: none is lost, and a bad set only waits."""

import datetime as dt
import itertools
import time

import pytest
from structlog.testing import capture_logs

from collector import relay_renewal
from tests.collector import harness
from tests.parts import certificates
from tests.parts import nodes as parts
from tests.parts import relay as relays

pytest_plugins = ["tests.parts.relay"]
pytestmark = [pytest.mark.relay, pytest.mark.slow]
RATE = 40
NAMES = {"ca.pem": "tls_ca_file", "tls.crt": "tls_certificate_file", "tls.key": "tls_key_file"}
_STEP = itertools.count(1)


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch):
    monkeypatch.setattr(relay_renewal, "LOOK_SECONDS", 0.2)


class Mounted:
    """A folder that is swapped as a whole, as Kubernetes does with a mounted secret."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder = folder
        for name in NAMES:
            (folder / name).symlink_to(f"..data/{name}")

    def show(self, ca, pair, *, key=None):
        fresh = self.folder / f"..{next(_STEP)}"
        fresh.mkdir()
        for name, content in zip(NAMES, (ca, pair.certificate, key or pair.key), strict=True):
            (fresh / name).write_bytes(content)
        link = self.folder / "..next"
        link.symlink_to(fresh.name)
        link.rename(self.folder / "..data")

    def settings(self):
        files = {setting: self.folder / name for name, setting in NAMES.items()}
        return {"tls": True, "tls_server_name": relays.SERVER_NAME, **files}


def show_relay(tls, authority):
    """Give relay, and the test's own client, what this authority signs."""
    tls.ca_file.write_bytes(authority.pem)
    for name, files in ((relays.SERVER_NAME, tls.server), ("test", tls.client)):
        pair = authority.sign(name)
        for path, content in zip(files, (pair.certificate, pair.key), strict=True):
            path.write_bytes(content)


@pytest.fixture
def cluster(hubble, tmp_path):
    """Two nodes under load behind relay, which wants clients' certificates; nobody reads it yet."""
    assert hubble
    log = harness.a_log(tmp_path)

    class Cluster:
        authority = certificates.Authority.new("first")
        tls = relays.certify(tmp_path / "relay-tls", mutual=True)
        mounted = Mounted(tmp_path / "mounted")
        written = harness.Written(log)

        def pair(self, **lasts):
            more = {"lasts": dt.timedelta(**lasts)} if lasts else {}
            return self.authority.sign("picket", **more)

        def collecting(self):
            return harness.collecting(
                log, relay=self.relay.address, checkpoint_seconds=2, **self.mounted.settings()
            )

        def more(self, count=20):
            self.written.wait_for(len(self.written.uuids()) + count)

        def check(self):
            """Stop the load; all of it stands in the log once."""
            self.nodes.stop()
            emitted = self.nodes.uuids()
            harness.wait_for(lambda: emitted <= self.written.counts().keys(), seconds=60)
            assert self.written.counts() == dict.fromkeys(emitted, 1)
            assert self.written.gaps() == []

    running = Cluster()
    show_relay(running.tls, running.authority)
    with (
        parts.Nodes(2) as running.nodes,
        relays.running(
            tmp_path / "r", running.nodes.peers, nodes=2, tls=running.tls
        ) as running.relay,
    ):
        running.nodes.start(RATE, "everyday")
        yield running
    log.close()


def test_a_renewed_pair_is_used_once_the_connection_is_made_anew(cluster):
    """The stream goes on meanwhile; relay, restarted, would refuse the first pair."""
    first = time.monotonic() + 10
    cluster.mounted.show(cluster.authority.pem, cluster.pair(seconds=10))
    with cluster.collecting() as run:
        cluster.more()
        assert 0 < run.metric("tls_certificate_seconds", target="relay") <= 10
        cluster.mounted.show(cluster.authority.pem, cluster.pair())
        harness.wait_for(lambda: run.metric("tls_renewals_total", result="taken") == 1)
        assert run.metric("tls_certificate_seconds", target="relay") > 3600
        harness.wait_for(lambda: time.monotonic() > first)
        cluster.more()
        assert run.metric("reconnects_total") == 0
        cluster.relay.restart(nodes=2)
        cluster.more()
        cluster.check()


@pytest.mark.parametrize("relay_first", [True, False])
def test_an_authority_may_be_renewed_on_either_side_first(cluster, relay_first):
    """As long as the two differ the old connection stays, or none is possible; then flows go on."""
    cluster.mounted.show(cluster.authority.pem, cluster.pair())
    with cluster.collecting() as run:
        cluster.more()
        cluster.authority = certificates.Authority.new("second")
        if relay_first:
            show_relay(cluster.tls, cluster.authority)
            cluster.relay.restart(nodes=2)
            cluster.mounted.show(cluster.authority.pem, cluster.pair())
        else:
            cluster.mounted.show(cluster.authority.pem, cluster.pair())
            harness.wait_for(lambda: run.metric("tls_renewals_total", result="refused") >= 1)
            cluster.more()
            show_relay(cluster.tls, cluster.authority)
            cluster.relay.restart(nodes=2)
        harness.wait_for(lambda: run.metric("tls_renewals_total", result="taken") == 1)
        cluster.more()
        cluster.check()


def test_an_expired_certificate_blinds_until_it_is_renewed(cluster):
    """It is told before and after, and the collector lives on."""
    until = time.monotonic() + 6
    cluster.mounted.show(cluster.authority.pem, cluster.pair(seconds=6))
    with capture_logs() as told, cluster.collecting() as run:
        cluster.more()
        harness.wait_for(lambda: time.monotonic() > until)
        harness.wait_for(lambda: relay_renewal.EXPIRED in {line["event"] for line in told})
        assert relay_renewal.EXPIRING in {line["event"] for line in told}
        cluster.relay.restart(nodes=2)
        harness.wait_for(lambda: run.metric("stream_state", state="blind") == 1)
        assert run.metric("tls_certificate_seconds", target="relay") < 0
        cluster.mounted.show(cluster.authority.pem, cluster.pair())
        cluster.more()
        cluster.check()


def test_a_pair_that_does_not_fit_is_waited_out(cluster):
    """A key of another certificate, or half a file, changes nothing but what is told."""
    pair = cluster.pair()
    cluster.mounted.show(cluster.authority.pem, pair)
    with capture_logs() as told, cluster.collecting() as run:
        cluster.more()
        for wrong in (cluster.pair().key, pair.key[:90], b"hello"):
            before = run.metric("tls_renewals_total", result="refused")
            cluster.mounted.show(cluster.authority.pem, pair, key=wrong)
            harness.wait_for(
                lambda seen=before: run.metric("tls_renewals_total", result="refused") > seen
            )
        assert {line["reason"] for line in told if "do not work" in line["event"]} >= {
            "certificate and key do not belong together",
            "the key is not whole",
        }
        assert run.metric("tls_renewals_total", result="taken") == 0
        cluster.more()
        cluster.mounted.show(cluster.authority.pem, cluster.pair())
        harness.wait_for(lambda: run.metric("tls_renewals_total", result="taken") == 1)
        cluster.more()
        cluster.check()


def test_a_pair_that_does_not_fit_at_the_start_is_waited_out_too(cluster):
    """Blind, told, and then as if nothing had been."""
    cluster.mounted.show(cluster.authority.pem, cluster.pair(), key=cluster.pair().key)
    with cluster.collecting() as run:
        harness.wait_for(lambda: run.metric("stream_state", state="blind") == 1)
        cluster.mounted.show(cluster.authority.pem, cluster.pair())
        cluster.more()
        cluster.check()
