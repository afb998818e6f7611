"""Which lines a corpus reaches: `python -m tests.fuzz.covering TARGET CORPUS`, in JSON.

A process of its own: coverage has to be measured from the first import on, and it would slow the
fuzzer down. The corpus holds every input that reached something new, so it reaches all that the run
did.
"""

import importlib
import json
import sys
from pathlib import Path

import coverage

from tests.fuzz import modules


def main(target: str, corpus: str) -> None:
    """Print statements and reached ones by module."""
    measured = coverage.Coverage(data_file=None, source_pkgs=[modules.PACKAGE], config_file=False)
    measured.start()
    module = importlib.import_module(f"tests.fuzz.{target}")
    for path in sorted(Path(corpus).iterdir()):
        module.one(path.read_bytes())
    measured.stop()
    found = {}
    for name in modules.OF[target]:
        own = importlib.import_module(f"{modules.PACKAGE}.{name}")
        _, statements, _, missing, _ = measured.analysis2(own)
        found[f"{modules.PACKAGE}/{name.replace('.', '/')}.py"] = (len(statements), missing)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
