"""Several processes over one embedded log keep each other's locks."""

import subprocess
import sys
from pathlib import Path

from bus import embedded, port
from schemas import topics

VISITOR = """
import sys
from pathlib import Path
from bus import embedded
log = embedded.EmbeddedLog(Path(sys.argv[1]))
log.identity("picket.flows")
log.close()
"""


def test_a_visiting_process_leaves_the_log_of_those_who_stay_in_order(tmp_path: Path) -> None:
    """Whoever opens the file again keeps its locks, so that a visitor's leaving removes nothing."""
    path = tmp_path / "log.db"
    log = embedded.EmbeddedLog(path)
    log.ensure(topics.ALL)
    producer = log.producer("p")
    with producer.transaction() as transaction:
        transaction.send(port.Outgoing(topic="picket.flows", value=b"1"))
    log.reader(["picket.flows"]).close()
    subprocess.run([sys.executable, "-c", VISITOR, str(path)], check=True)
    assert path.with_name("log.db-wal").exists()
    with producer.transaction() as transaction:
        transaction.send(port.Outgoing(topic="picket.flows", value=b"2"))
    reader = log.reader(["picket.flows"])
    assert [record.value for record in port.read_to_end(reader)] == [b"1", b"2"]
    reader.close()
    producer.close()
    log.close()
