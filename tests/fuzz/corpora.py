"""What the fuzzer starts from."""

import gzip
import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

_ORACLE = Path(__file__).parents[1] / "data" / "oracle" / "dev.jsonl.gz"
_SCENARIOS = 60


def policies() -> Iterator[dict[str, Any]]:
    """Policies of the oracle's scenarios."""
    with gzip.open(_ORACLE, "rt", encoding="utf-8") as lines:
        for line in islice(lines, 0, None, 37):
            yield from json.loads(line)["policies"][:1]


def choices(seed: int, *, count: int = 200, length: int = 300) -> Iterator[bytes]:
    """Rows of choices."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.randbytes(length)
