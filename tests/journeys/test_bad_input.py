"""What nobody should send, and what a person may get wrong: the rest goes on, and one line tells."""

import contextlib
import gzip
import json
import random
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import structlog
from google.protobuf import json_format

from bus import opening, port
from cli import main, stages
from schemas import topics
from schemas.hubble import flow_pb2, observer_pb2
from schemas.picket.v1 import flows_pb2
from tests import waiting
from tests.cli import stand
from tests.enricher import builders
from tests.journeys import pipeline
from tests.journeys.surroundings import bus
from tests.parts import ports, relay
from tests.parts.nodes import Nodes
from tests.parts.relay import hubble

__all__ = ["bus", "hubble"]

pytestmark = pytest.mark.journey

CLUSTER = "demo"
READ = (
    topics.FLOWS,
    topics.FLOWS_RETRY,
    topics.FLOWS_RETRY_LATE,
    topics.POLICIES,
    topics.MATCHES,
    topics.DEADLETTER,
)
"""The topics on which garbage meets a stage while it runs; the others are read when one starts."""
GARBAGE = (
    b"",
    b"hello",
    b"\x00\xff\xfe",
    b"{}",
    b"null",
    b'{"specversion": "1.0"',
    b"[" * 100_000,
    random.Random(7).randbytes(5000),
)
KEYS = (None, b"\xff\xfe", b"hello", b"demo/CiliumNetworkPolicy/shop/backend-ingress")
BAD_LINES = (
    b"hello",
    b"{",
    b"[]",
    b"{}",
    b"\x00\xff\xfe",
    b'{"flow": 7}',
    b'{"flow": {"time": 1}}',
)
BIG_POLICY_BYTES = 1_000_000
INTERRUPTED_LOADING = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "cli.stages":
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
from cli import main
main.main()
"""


@pytest.mark.timeout(300)
def test_garbage_everywhere_changes_no_count(bus: str, tmp_path: Path) -> None:
    """Healthy flows before, between and after it count exactly; all else is told, and stays told.

    Then, since log and database are there: neither is taken with a new one of the other kind.
    """
    lines = gzip.decompress((stand.EXAMPLES / "shop.jsonl.gz").read_bytes()).splitlines()
    third = len(lines) // 3
    capture = tmp_path / "capture.jsonl"
    write(capture, with_bad_lines(lines[:third]))
    stages_ = a_pipeline(tmp_path, capture, bus)
    with pipeline.running(stages_), log_of(stages_) as log:
        waiting.until(
            lambda: sum(stages_.counts().values()) > 0, what="the first counts", every=0.2
        )
        sent = pour_garbage(log)
        broken = pour_flows(log, lines[third : 2 * third])
        write(capture, with_bad_lines(lines[2 * third :]))
        await_example(stages_)

        def unread() -> set[tuple[Any, ...]]:
            return (sent | broken) - {place(letter) for letter in letters(log)}

        waiting.until(
            lambda: not unread(), what="a dead letter of each that nobody can read", every=0.5
        )
        stages_.await_drained()
        told = letters(log)
        by_stage = Counter(letter["stage"] for letter in told)
        assert by_stage["collector"] == 2 * len(BAD_LINES)
        assert by_stage["agent"] == 1
        # Whatever was put aside stands in the notices, to the last.
        noticed = sum(row["count"] for row in stages_.notices() if row["kind"] == "dead-letter")
        assert noticed == by_stage.total()
        assert "broken.yaml" in next(row["topic"] for row in told if row["stage"] == "agent")
        sizes = [len(record.value or b"") for record in records(log, topics.POLICIES.name)]
        assert max(sizes) > BIG_POLICY_BYTES
    # All of it stands in the log still: a start reads most of it again.
    with pipeline.running(stages_):
        await_example(stages_)
    for topic in topics.ALL:
        assert main.run(["topics", "show", topic.name, "--bus", stages_.bus]) == 0
    assert main.run(["flows", "--bus", stages_.bus]) == 0
    check_pairs(stages_, tmp_path)


def check_pairs(stages_: pipeline.Pipeline, folder: Path) -> None:
    """An old database under a new log, and the reverse, are refused in one line each."""
    own = ("--token-file", stages_.folder / "token", "--port", str(ports.free()))
    for log, database, said in (
        (folder / "new.db", stages_.database, "belongs to another log"),
        (stages_.bus, f"sqlite:///{folder}/new-alerts.db", "--recount"),
    ):
        found = stand.picket("alert-api", "--bus", log, "--database", database, *own, state=folder)
        assert found.returncode == 2, found.stderr
        assert said in found.stderr.splitlines()[-1]
        assert found.stderr.splitlines()[-1].startswith("picket: ")
        assert "Traceback" not in found.stderr


@pytest.mark.relay
def test_a_relay_that_is_not_trusted_is_told(tmp_path: Path, hubble: relay.Programs) -> None:
    """With another authority no flow is read, and the terminal says that it is the certificate."""
    tls = relay.certify(tmp_path / "tls")
    settings = tmp_path / "picket.toml"
    settings.write_text(
        f'[collector]\ntls = true\ntls_ca_file = "{tls.wrong_ca_file}"\n'
        f'tls_server_name = "{relay.SERVER_NAME}"\n'
    )
    with (
        Nodes(1) as nodes,
        relay.running(tmp_path / "relay", nodes.peers, tls=tls) as front,
        stand.running(tmp_path, "--relay", front.address, "--config", settings) as up,
    ):
        waiting.until(lambda: "CERTIFICATE_VERIFY_FAILED" in up.text, what="the reason", seconds=60)
        up.ready()
        assert "Traceback" not in up.text


def test_lines_that_are_no_flows_are_told_at_the_end(tmp_path: Path) -> None:
    """A capture of something else must not look like a quiet cluster."""
    capture = tmp_path / "capture.jsonl"
    write(capture, BAD_LINES)
    with stand.running(tmp_path, "--flows", capture) as up:
        up.ready()
        assert f"{len(BAD_LINES)} of {len(BAD_LINES)} lines could not be read" in up.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--relay", "http://127.0.0.1:4245"), "--relay: 'http://127.0.0.1:4245' is not HOST:PORT"),
        (("--flows", "-", "--listen", "127.0.0.1:0"), "--listen: '127.0.0.1:0' is not HOST:PORT"),
    ],
)
def test_an_address_that_leads_nowhere_is_refused(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    """Before anything starts, rather than a stream that stays blind, or a link that is dead."""
    monkeypatch.setattr("runtime.logs.configure", lambda *_: None)
    assert main.run(["up", "--policies", "examples/policies", *arguments]) == 2
    assert capsys.readouterr().err == f"picket: up: {said}\n"


@pytest.mark.parametrize(
    "made", ["picket", "picket/stages.toml", "picket/output/collector.log", "picket/alerts.db"]
)
def test_an_interrupt_at_any_moment_leaves_nobody_and_no_traceback(
    tmp_path: Path, made: str
) -> None:
    """However far a start has come, as its files tell: it ends, and so do its children."""
    command = [sys.executable, "-m", "cli", "up", "--listen", f"127.0.0.1:{ports.free()}"]
    command += ["--flows", "examples/shop.jsonl.gz", "--policies", "examples/policies"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=stand.ROOT,
        env=stand.environment(tmp_path),
        start_new_session=True,
    ) as process:
        try:
            waiting.until((tmp_path / made).exists, what=made, every=0.005)
            process.send_signal(signal.SIGINT)
            # The pipe's end comes only when nobody holds it any more: no child is left.
            said, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode in {0, 130}, said
    assert "Traceback" not in said


def test_an_interrupt_while_the_program_is_loaded_says_nothing(tmp_path: Path) -> None:
    """There is nothing to tidy up yet, and a traceback would tell a person nothing."""
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_LOADING],
        capture_output=True,
        text=True,
        cwd=stand.ROOT,
        env=stand.environment(tmp_path),
        check=False,
        timeout=60,
    )
    assert (found.returncode, found.stdout, found.stderr) == (-signal.SIGINT, "", "")


def test_a_stage_waits_for_a_log_that_is_away(tmp_path: Path) -> None:
    """It tries again, says so, and stops when told to; who only looks is told at once."""
    bus = f"kafka://127.0.0.1:{ports.free()}"
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "agent", "--policies", "examples/policies", "--bus", bus],
        stderr=subprocess.PIPE,
        text=True,
        cwd=stand.ROOT,
        env=stand.environment(tmp_path),
    ) as process:
        assert process.stderr is not None
        try:
            for _ in range(2):
                entry = json.loads(process.stderr.readline())
                assert (entry["event"], entry["level"]) == ("the log is away", "warning")
            process.terminate()
            process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 0
    for looking in ("topics", "flows"):
        found = stand.picket(looking, "--bus", bus, state=tmp_path)
        assert (found.returncode, found.stderr.count("\n")) == (1, 1)
        assert found.stderr.startswith("picket: the log: no Kafka server can be reached")


def test_a_stage_goes_on_once_the_log_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each try that fails is one line, each pause longer than the one before."""
    honest, away = opening.open_log, [port.Unavailable("away")] * 2

    def open_log(settings: opening.BusSettings) -> port.Log:
        if away:
            raise away.pop()
        return honest(settings)

    monkeypatch.setattr(opening, "open_log", open_log)
    monkeypatch.setattr(stages, "FIRST_PAUSE_SECONDS", 0.01)
    with structlog.testing.capture_logs() as said:
        log = stages.awaited(opening.BusSettings(bus=str(tmp_path / "log.db")), threading.Event())
    assert log is not None
    log.close()
    assert [entry["retry_in"] for entry in said] == [0.01, 0.02]


# Builders.


def a_pipeline(folder: Path, capture: Path, bus: str) -> pipeline.Pipeline:
    """All stages over a growing capture and a folder in which not all is as it should be."""
    policies = folder / "policies"
    shutil.copytree(stand.EXAMPLES / "policies", policies)
    (policies / "broken.yaml").write_text("kind: [CiliumNetworkPolicy\n")
    (policies / "big.json").write_text(json.dumps(a_big_policy()))
    return pipeline.Pipeline(
        folder=folder / "picket",
        bus=bus,
        database=f"sqlite:///{folder}/alerts.db",
        settings={
            "agent": {"cluster": CLUSTER, "policies": str(policies)},
            "collector": {"cluster": CLUSTER, "flows": str(capture), "follow": True},
        },
    )


def a_big_policy() -> dict[str, Any]:
    """A policy of more than a megabyte, for pods that nobody has."""
    peer = {"matchLabels": {"app": "x" * 60, "tier": "y" * 60}}
    return {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumNetworkPolicy",
        "metadata": {"name": "big", "namespace": "elsewhere"},
        "spec": {
            "endpointSelector": {"matchLabels": {"app": "nobody"}},
            "ingress": [{"fromEndpoints": [peer]}] * (BIG_POLICY_BYTES // 150),
        },
    }


def with_bad_lines(lines: list[bytes]) -> list[bytes]:
    """Healthy lines with each bad one somewhere between them."""
    step = max(len(lines) // (len(BAD_LINES) + 1), 1)
    mixed = list(lines)
    for number, bad in enumerate(BAD_LINES, start=1):
        mixed.insert(number * step, bad)
    return mixed


def write(capture: Path, lines: Iterable[bytes]) -> None:
    with capture.open("ab") as stream:
        stream.write(b"".join(line + b"\n" for line in lines))


def pour_garbage(log: port.Log) -> set[tuple[Any, ...]]:
    """Put all garbage on all topics; return the places of what a stage must meet."""
    with contextlib.closing(log.producer("test-garbage")) as producer:
        before = {topic.name: ends(log, topic.name) for topic in READ}
        with producer.transaction() as transaction:
            for topic in topics.ALL:
                compacted = topic.cleanup is topics.Cleanup.COMPACT
                for key in KEYS:
                    for value in () if compacted and key is None else GARBAGE:
                        transaction.send(port.Outgoing(topic=topic.name, key=key, value=value))
    return {
        (*at(record), None)
        for topic in READ
        for record in records(log, topic.name)
        if record.offset >= before[topic.name][record.partition]
        and record.value in GARBAGE
        and record.key in KEYS
    }


def pour_flows(log: port.Log, lines: list[bytes]) -> set[tuple[Any, ...]]:
    """Put healthy flows and flows with missing parts into one record; return the broken ones."""
    whole = [
        json_format.Parse(line, observer_pb2.GetFlowsResponse()).SerializeToString()
        for line in lines
    ]
    responses: list[bytes] = []
    places: list[int] = []
    bad = [b"hello", b"\xff\xff\xff", *crippled()]
    for number, response in enumerate(whole):
        if number < len(bad):
            places.append(len(responses))
            responses.append(bad[number])
        responses.append(response)
    start = ends(log, topics.FLOWS.name)
    batch = flows_pb2.FlowBatch(cluster=CLUSTER, responses=responses)
    record = port.Outgoing(topic=topics.FLOWS.name, value=batch.SerializeToString())
    with (
        contextlib.closing(log.producer("test-flows")) as producer,
        producer.transaction() as transaction,
    ):
        transaction.send(record)
    (poured,) = (
        record
        for record in records(log, topics.FLOWS.name)
        if record.offset >= start[record.partition] and record.value == batch.SerializeToString()
    )
    return {(*at(poured), places[0]), (*at(poured), places[1])}


def crippled() -> Iterator[bytes]:
    """A denied flow with each of its parts missing in turn, and with nothing at all."""
    yield b""
    yield observer_pb2.GetFlowsResponse(flow=flow_pb2.Flow()).SerializeToString()
    whole = builders.a_flow(
        # No policy is about them, so that no alert counts the ones that can still be explained.
        source=builders.a_pod("stranger", "nowhere"),
        destination=builders.a_pod("backend", "nowhere"),
        at=builders.CAPTURE_END - 60,
    )
    for part in whole.DESCRIPTOR.fields:
        less = flow_pb2.Flow()
        less.CopyFrom(whole)
        less.ClearField(part.name)
        yield observer_pb2.GetFlowsResponse(flow=less).SerializeToString()


# Looking.


def await_example(stages_: pipeline.Pipeline) -> None:
    """Wait until exactly what the example counts is counted, and everything is read."""

    def found() -> bool:
        stages_.check_alive()
        return sorted(stages_.counts().values(), reverse=True) == stand.COUNTS

    # A look costs the API about as much as what it waits for.
    waiting.until(found, what="the counts of the example", seconds=60, every=0.5)
    stages_.await_drained()
    assert found()


@contextlib.contextmanager
def log_of(stages_: pipeline.Pipeline) -> Iterator[port.Log]:
    log = opening.open_log(opening.BusSettings(bus=stages_.bus))
    try:
        yield log
    finally:
        log.close()


def records(log: port.Log, topic: str) -> list[port.Record]:
    with contextlib.closing(log.reader([topic])) as reader:
        return list(port.read_to_end(reader))


def ends(log: port.Log, topic: str) -> Mapping[port.Partition, int]:
    with contextlib.closing(log.reader([topic])) as reader:
        return reader.end()


def letters(log: port.Log) -> list[dict[str, Any]]:
    found = []
    for record in records(log, topics.DEADLETTER.name):
        with contextlib.suppress(ValueError, RecursionError):
            letter = json.loads(record.value or b"")
            if isinstance(letter, dict) and "stage" in letter:
                found.append(letter)
    return found


def at(record: port.Record) -> tuple[str, int, int]:
    return record.partition.topic, record.partition.number, record.offset


def place(letter: dict[str, Any]) -> tuple[Any, ...]:
    return letter["topic"], letter["partition"], letter["offset"], letter["index"]
