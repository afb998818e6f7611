"""Run the benchmarks: `python -m bench [NAME…]`; prints a table and writes bench/results/*.json.

Numbers of a shared machine are noisy: what is compared is compared within one run, and the machine
is noted beside the figures. Exit 1 where a target was missed.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import rich.console
import rich.table

from bench import figures

NAMES = ("policies", "engine", "agent", "enricher", "alert_api", "collector", "latency", "memory")
RESULTS = Path(__file__).parent / "results"


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, or all of them, one after the other in processes of their own."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(NAMES)} (default: all)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(
            f"no benchmark named {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}"
        )
    if options.inside:
        measured = importlib.import_module(f"bench.{options.names[0]}").run()
        print(json.dumps([asdict(figure) for figure in measured]))
        return 0
    console = rich.console.Console()
    measured = []
    broken = []
    for name in options.names or NAMES:
        with console.status(f"{name} …"):
            done = subprocess.run(
                [sys.executable, "-m", "bench", "--inside", name],
                stdout=subprocess.PIPE,
                check=False,
                text=True,
            )
        if done.returncode:
            broken.append(name)
            console.print(f"[red]{name} failed[/] (exit {done.returncode})")
            continue
        found = [figures.Figure(**row) for row in json.loads(done.stdout.splitlines()[-1])]
        measured += found
        console.print(_table(name, found))
    _write(measured)
    return 1 if broken or any(figure.met is False for figure in measured) else 0


def _table(name: str, measured: list[figures.Figure]) -> rich.table.Table:
    table = rich.table.Table(title=name, title_justify="left")
    for column, justify in (
        ("what", "left"),
        ("measured", "right"),
        ("target", "right"),
        ("", "left"),
    ):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for figure in measured:
        mark = {True: "[green]met[/]", False: "[red]missed[/]", None: ""}[figure.met]
        target = (
            "" if figure.target is None else f"{figure.better} {figure.target:,g} {figure.unit}"
        )
        value = (
            f"{figure.value:,.4g} {figure.unit}"
            if figure.value < 1000
            else (f"{figure.value:,.0f} {figure.unit}")
        )
        table.add_row(figure.name, value, target, f"{mark} {figure.note}".strip())
    return table


def _write(measured: list[figures.Figure]) -> None:
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(tz=UTC)
    document = {
        "at": now.isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.processor() or platform.machine(),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
        },
        "figures": [{**asdict(figure), "met": figure.met} for figure in measured],
    }
    path = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(f"written: {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
