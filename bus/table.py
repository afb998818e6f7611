"""A compacted topic as a table: read to its end, then followed.

Keeps the newest record under each key. Also hands out every record in order, since for some readers
(policies in time) what was superseded matters as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from bus import port


@dataclass(slots=True)
class Table:
    """Reads through a reader of its own that nobody else polls; not thread-safe."""

    reader: port.Reader
    rows: dict[bytes, port.Record] = field(default_factory=dict)
    """The newest record under each key; a key whose newest is a tombstone is not here."""

    def load(self) -> Iterator[port.Record]:
        """Yield every record up to the end that stands now, taking each in.

        Raises what the reader's poll raises.
        """
        for record in port.read_to_end(self.reader):
            self._take(record)
            yield record

    def follow(self, timeout: float) -> list[port.Record]:
        """Wait up to `timeout` seconds; take in what came and return it in order."""
        records = list(self.reader.poll(timeout=timeout))
        for record in records:
            self._take(record)
        return records

    def _take(self, record: port.Record) -> None:
        if record.key is None:
            return
        if record.value is None:
            self.rows.pop(record.key, None)
        else:
            self.rows[record.key] = record
