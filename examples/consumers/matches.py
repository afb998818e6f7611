"""Counts what each policy stopped, from picket.matches.

    python -m examples.consumers.matches kafka-1:9092,kafka-2:9092

Two rules make the counts exact: read committed, and drop an event whose id was seen. An id is made
of what the event is about and of the offsets it came from, so it is the same if it comes again.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

TOPIC = "picket.matches"
MATCH = "picket.match.v1"

Entry = tuple[bytes | None, bytes | None]


def totals(entries: Iterable[Entry]) -> Iterator[Counter[str]]:
    """Yield the flows stopped by policy after each new match."""
    counts: Counter[str] = Counter()
    # A longer-lived consumer would keep these for as long as it may be sent one again.
    seen: set[str] = set()
    for _, value in entries:
        if value is None:
            continue
        event = json.loads(value)
        # Progress travels here as well, and other types may follow.
        if event["type"] != MATCH or event["id"] in seen:
            continue
        seen.add(event["id"])
        policy = event["data"]["policy"]
        counts["/".join(filter(None, (policy["namespace"], policy["name"])))] += event["data"][
            "count"
        ]
        yield Counter(counts)


def main() -> None:
    """Print the counts as they grow."""
    from examples.consumers import kafka_topic  # noqa: PLC0415 - the counting works without Kafka

    for counts in totals(kafka_topic.entries(sys.argv[1], TOPIC)):
        line = ", ".join(f"{policy} {count}" for policy, count in counts.most_common())
        sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main()
