"""Makes examples/shop.jsonl.gz from the recording that the tests use: python examples/make_shop.py.

The recording holds a few HTTP requests that were written into it by hand in a proxy's place, with
no HTTP rule in force. They are good for tests and would only puzzle who meets Picket for the first
time, so the example leaves them out. Running this again changes nothing.
"""

import gzip
import io
import json
from pathlib import Path

HERE = Path(__file__).parent
RECORDING = HERE.parent / "tests" / "data" / "captures" / "shop.jsonl.gz"
EXAMPLE = HERE / "shop.jsonl.gz"


def is_stand_in(line: bytes) -> bool:
    """Return whether a line is one of the requests written in by hand."""
    flow = json.loads(line).get("flow") or {}
    return "http" in (flow.get("l7") or {})


def example(recording: bytes) -> bytes:
    """Return the gzipped example of a gzipped recording, always the same bytes."""
    with gzip.open(io.BytesIO(recording)) as lines:
        kept = b"".join(line for line in lines if not is_stand_in(line))
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, compresslevel=9, mtime=0) as stream:
        stream.write(kept)
    return out.getvalue()


if __name__ == "__main__":
    EXAMPLE.write_bytes(example(RECORDING.read_bytes()))
