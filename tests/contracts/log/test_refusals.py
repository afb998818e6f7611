"""A log that refuses: a person reads in one line what to change."""

import contextlib
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bus import embedded, opening, port
from schemas.topics import MEBIBYTE
from tests.contracts.log.harness import Harness, a_record, a_topic, an_id, send, texts
from tests.parts import demand
from tests.parts import kafka as kafka_part
from tests.parts.kafka import Broker

NOBODY = 65534


def settings(bus: str, **fields: object) -> opening.BusSettings:
    """Return settings for a log."""
    return opening.BusSettings.model_validate({"bus": bus, **fields})


def written(folder: Path, text: str) -> Path:
    """Write a secret's file."""
    path = folder / "secret"
    path.write_text(text + "\n")
    return path


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])
def test_kafka_lets_the_right_password_in(kafka: Broker, tmp_path: Path, mechanism: str) -> None:
    """SASL PLAIN and SCRAM work with a user and a password from a file."""
    kafka.add_scram_user(kafka_part.USER, kafka_part.PASSWORD)
    log = opening.open_log(
        settings(
            kafka.sasl_url,
            kafka_sasl=mechanism,
            kafka_user=kafka_part.USER,
            kafka_password_file=written(tmp_path, kafka_part.PASSWORD),
        )
    )
    round_trip(log)


@pytest.mark.kafka
@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_kafka_refuses_a_wrong_password(kafka: Broker, tmp_path: Path, mechanism: str) -> None:
    """A wrong password is Misconfigured, at once, and appears in no message."""
    kafka.add_scram_user(kafka_part.USER, kafka_part.PASSWORD)
    with pytest.raises(port.Misconfigured, match=r"(?i)authentication") as caught:
        opening.open_log(
            settings(
                kafka.sasl_url,
                kafka_sasl=mechanism,
                kafka_user=kafka_part.USER,
                kafka_password_file=written(tmp_path, "not-the-password"),
            )
        )
    assert "not-the-password" not in str(caught.value)


@pytest.mark.kafka
def test_kafka_lets_a_token_in(kafka: Broker, tmp_path: Path) -> None:
    """OAUTHBEARER works with a token from a file."""
    token = kafka_part.unsecured_token("picket")
    log = opening.open_log(
        settings(
            kafka.sasl_url,
            kafka_sasl="OAUTHBEARER",
            kafka_token_file=written(tmp_path, token),
        )
    )
    round_trip(log)


@pytest.mark.kafka
def test_kafka_refuses_a_bad_token(kafka: Broker, tmp_path: Path) -> None:
    """A token that the broker does not take is Misconfigured."""
    with pytest.raises(port.Misconfigured, match=r"(?i)authentication"):
        opening.open_log(
            settings(
                kafka.sasl_url,
                kafka_sasl="OAUTHBEARER",
                kafka_token_file=written(tmp_path, "nonsense"),
            )
        )


@pytest.mark.kafka
def test_kafka_speaks_tls(kafka: Broker) -> None:
    """TLS works with the authority's file, and with a client's certificate besides."""
    certificate, key = kafka.client_certificate
    round_trip(
        opening.open_log(
            settings(
                kafka.tls_url,
                kafka_tls=True,
                kafka_ca_file=kafka.ca_file,
                kafka_certificate_file=certificate,
                kafka_key_file=key,
            )
        )
    )


@pytest.mark.kafka
def test_kafka_with_a_wrong_authority_is_refused(kafka: Broker) -> None:
    """A certificate that the given authority did not sign is Misconfigured and names the file."""
    with pytest.raises(port.Misconfigured, match="kafka_ca_file"):
        opening.open_log(settings(kafka.tls_url, kafka_tls=True, kafka_ca_file=kafka.wrong_ca_file))


@pytest.mark.kafka
def test_tls_where_kafka_has_none_is_refused(kafka: Broker) -> None:
    """TLS against a plain port is Misconfigured, not a timeout."""
    with pytest.raises(port.Misconfigured, match="kafka_tls"):
        opening.open_log(settings(kafka.url, kafka_tls=True, kafka_ca_file=kafka.ca_file))


@pytest.mark.kafka
def test_nobody_at_the_address_is_unavailable(kafka: Broker) -> None:
    """A port where nothing listens is Unavailable and names the address."""
    port_number = kafka_part.Ports.free().plain
    with pytest.raises(port.Unavailable, match=f"127.0.0.1:{port_number}"):
        opening.open_log(settings(f"kafka://127.0.0.1:{port_number}"))


@pytest.mark.kafka
def test_every_wrong_setting_of_a_topic_is_named(kafka: Broker) -> None:
    """Checking an existing topic lists all that breaks a promise, in one error."""
    topic = a_topic(partitions=2, max_record_bytes=4 * MEBIBYTE)
    kafka.make_topic(
        topic.name,
        {
            "retention.ms": "1000",
            "max.message.bytes": "1048588",
            "unclean.leader.election.enable": "true",
        },
    )
    log = opening.open_log(settings(kafka.url))
    with pytest.raises(port.Misconfigured) as caught:
        log.ensure([topic])
    log.close()
    text = str(caught.value)
    for name in (topic.name, "retention.ms", "max.message.bytes", "unclean.leader", "partitions"):
        assert name in text


def test_a_file_that_is_no_log_is_refused(tmp_path: Path) -> None:
    """A text file, a foreign database, a folder: each is Misconfigured and names the path."""
    (tmp_path / "text").write_text("not a database, but long enough to have a header" * 40)
    foreign = sqlite3.connect(tmp_path / "foreign")
    foreign.execute("CREATE TABLE t (x)")
    foreign.commit()
    foreign.close()
    (tmp_path / "folder").mkdir()
    for name in ("text", "foreign", "folder"):
        with pytest.raises(port.Misconfigured, match=name):
            opening.open_log(settings(str(tmp_path / name)))


def test_a_log_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    """A file that a newer version made is not touched."""
    path = tmp_path / "log.db"
    opening.open_log(settings(str(path))).close()
    sql = sqlite3.connect(path)
    sql.execute("PRAGMA user_version = 99")
    sql.commit()
    sql.close()
    with pytest.raises(port.Misconfigured, match="format 99"):
        opening.open_log(settings(str(path)))


def test_a_damaged_log_is_told(tmp_path: Path) -> None:
    """Pages that were overwritten give Misconfigured that says damaged, never wrong records."""
    harness = Harness("embedded", str(tmp_path / "log.db"))
    topic = harness.topic()
    for number in range(200):
        harness.produce(topic, str(number) * 1000)
    harness.close()
    path = tmp_path / "log.db"
    content = bytearray(path.read_bytes())
    content[16 * 1024 : -16 * 1024] = b"\xa5" * (len(content) - 32 * 1024)
    path.write_bytes(content)
    again = Harness("embedded", str(path))
    with pytest.raises(port.Misconfigured, match="damaged"):
        again.values(topic)
    again.close()


def test_an_unreadable_file_is_refused() -> None:
    """A file without permission is Misconfigured."""
    # Not in pytest's folder: below it, nobody else may read anything.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "log.db"
        opening.open_log(settings(str(path))).close()
        path.chmod(0)
        with as_ordinary_user(), pytest.raises(port.Misconfigured, match=r"(?i)permission"):
            opening.open_log(settings(str(path)))


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Lay root's rights down, since root reads everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


def test_a_full_log_says_so_and_goes_on_with_room(tmp_path: Path) -> None:
    """At its largest size the log refuses with LogFull, keeps what it has, and is whole."""
    path = tmp_path / "log.db"
    with_room = Harness("embedded", str(path))
    topic = with_room.topic(max_record_bytes=MEBIBYTE)
    full = embedded.EmbeddedLog(path, max_pages=64)
    producer = full.producer(an_id("producer"))
    committed = fill(producer, topic.name)
    assert with_room.values(topic) == committed
    reader = full.reader([topic.name])
    assert texts(port.read_to_end(reader)) == committed
    for part in (reader, producer, full):
        part.close()
    with_room.produce(topic, "with room")
    assert with_room.values(topic) == [*committed, "with room"]
    with_room.close()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        demand.require("small disk", "only root can mount one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_so_and_goes_on_with_room(tiny_disk: Path) -> None:
    """On a disk without room the log refuses with LogFull, and goes on once there is some."""
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(512 * 1024))
    harness = Harness("embedded", str(tiny_disk / "log.db"))
    topic = harness.topic(max_record_bytes=MEBIBYTE)
    producer = harness.producer()
    committed = fill(producer, topic.name)
    assert harness.values(topic) == committed
    ballast.unlink()
    send(producer, topic, "with room")
    assert harness.values(topic) == [*committed, "with room"]
    harness.close()


def test_a_held_log_is_unavailable_in_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that another process keeps locked is Unavailable after a while, then works."""
    monkeypatch.setattr("bus.embedded_file.BUSY_SECONDS", 0.2)
    harness = Harness("embedded", str(tmp_path / "log.db"))
    topic = harness.topic()
    producer = harness.producer()
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(port.Unavailable), producer.transaction() as transaction:
        transaction.send(a_record(topic, "refused"))
    other.execute("ROLLBACK")
    other.close()
    send(producer, topic, "then")
    assert harness.values(topic) == ["then"]
    harness.close()


def fill(producer: port.Producer, topic: str) -> list[str | None]:
    """Produce until there is no room; return what was committed."""
    committed: list[str | None] = []
    for number in range(1000):
        value = str(number).zfill(50_000)
        try:
            with producer.transaction() as transaction:
                transaction.send(port.Outgoing(topic=topic, value=value.encode()))
        except port.LogFull:
            return committed
        committed.append(value)
    raise AssertionError("it never became full")


def round_trip(log: port.Log) -> None:
    """Use a log in every way: administration, producing, reading and a group."""
    harness = Harness("opened", "", _log=log)
    topic = harness.topic()
    harness.produce(topic, "a")
    assert harness.values(topic) == ["a"]
    consumer = harness.consumer(an_id("group"), topic.name)
    assert consumer.assignment()
    harness.close()
    log.close()
