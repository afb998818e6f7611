"""Writes the code generated from the protos: `python -m schemas.generate [--check]`.

With --check nothing is written: it says which committed files differ from what would be, exit 1.
"""

import argparse
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
MESSAGES = ("schemas/hubble/*.proto", "schemas/picket/v1/*.proto")
SERVICES = ("schemas/hubble/observer.proto", "schemas/hubble/peer.proto")


def generate(target: Path) -> list[Path]:
    """Write all generated files below `target`; return their paths relative to it."""
    # A tool of developers: running Picket needs only what it wrote.
    from grpc_tools import protoc  # noqa: PLC0415

    protos = [str(path.relative_to(ROOT)) for glob in MESSAGES for path in sorted(ROOT.glob(glob))]
    include = Path(protoc.__file__).parent / "_proto"
    for outputs, files in (
        ((f"--python_out={target}", f"--pyi_out={target}"), protos),
        ((f"--grpc_python_out={target}",), list(SERVICES)),
    ):
        code = protoc.main(["protoc", f"-I{ROOT}", f"-I{include}", *outputs, *files])
        if code:
            raise SystemExit(code)
    return sorted(path.relative_to(target) for path in target.rglob("*_pb2*"))


def stale() -> list[Path]:
    """Return the committed files that differ from what the protos say, or are missing."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder)
        return [
            path
            for path in generate(fresh)
            if not (ROOT / path).is_file()
            or (ROOT / path).read_bytes() != (fresh / path).read_bytes()
        ]


def main(arguments: list[str]) -> int:
    """Generate or check."""
    parser = argparse.ArgumentParser(prog="python -m schemas.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only compare; exit 1 on a difference")
    if not parser.parse_args(arguments).check:
        generate(ROOT)
        return 0
    if differing := stale():
        sys.stderr.write(
            "generated code is stale, run: make generate\n"
            + "".join(f"  {path}\n" for path in differing)
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
