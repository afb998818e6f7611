"""A process that uses the log on command, so that a test can stop it, kill it or let it fall behind.

Reads one JSON command a line, `[name, *arguments]`, and answers each with one line: `["ok", …]` or
`["LogError's name", text]`. Run as `python -m tests.contracts.log.actor BUS`.
"""

import contextlib
import json
import sys
from typing import Any

from bus import port
from runtime import logs
from tests.contracts.log import harness


class Actor:
    def __init__(self, bus: str) -> None:
        self.log = harness.open_log(bus)
        self.transaction: port.Transaction | None = None
        self.block = contextlib.ExitStack()
        self.records: list[port.Record] = []

    def producer(self, transactional_id: str) -> None:
        self.out = self.log.producer(transactional_id)

    def consumer(self, group: str, topic: str) -> None:
        self.consumer_ = self.log.consumer(group, [topic])

    def poll(self, seconds: float) -> list[str]:
        """Poll until records come or time is up; keep them for `offsets`."""
        self.records = list(self.consumer_.poll(timeout=seconds))
        return [(record.value or b"").decode() for record in self.records]

    def held(self) -> int:
        return len(self.consumer_.assignment())

    def begin(self) -> None:
        self.block = contextlib.ExitStack()
        self.transaction = self.block.enter_context(self.out.transaction())

    def send(self, topic: str, value: str) -> None:
        assert self.transaction is not None
        self.transaction.send(port.Outgoing(topic=topic, value=value.encode(), partition=0))

    def offsets(self) -> None:
        """Add the offsets after what was polled last."""
        assert self.transaction is not None
        self.transaction.commit_offsets(
            port.offsets_after(self.records), self.consumer_.membership()
        )

    def settle(self) -> None:
        """Have everything that was sent so far at the broker, uncommitted."""
        client = getattr(self.out, "_client", None)
        if client is not None:
            client.flush(timeout=10)

    def commit(self) -> None:
        self.block.close()

    def copy(self, group: str, source: str, target: str, transactional_id: str) -> None:
        """Copy records for ever, each batch in one transaction; never returns."""
        producer = self.log.producer(transactional_id)
        consumer = self.log.consumer(group, [source])
        while True:
            records = consumer.poll(timeout=0.2, max_records=7)
            if not records:
                continue
            with producer.transaction() as transaction:
                for record in records:
                    transaction.send(
                        port.Outgoing(topic=target, value=record.value, key=record.key)
                    )
                transaction.commit_offsets(port.offsets_after(records), consumer.membership())

    def ensure(self, name: str) -> None:
        self.log.ensure([harness.a_topic(name)])


def main() -> None:
    """Do commands until the standard input ends."""
    logs.configure(logs.LogLevel.ERROR, logs.LogFormat.JSON)
    actor = Actor(sys.argv[1])
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer: list[Any]
        try:
            answer = ["ok", getattr(actor, name)(*arguments)]
        except port.LogError as error:
            answer = [type(error).__name__, str(error)]
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
