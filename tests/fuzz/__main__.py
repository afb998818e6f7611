"""Fuzz a target, or each of them: `python -m tests.fuzz [TARGET…] --runs N | --seconds S`.

Prints how many inputs were tried, and which share of the lines of each module they reached. Exit 1
where an input was found that something is wrong with (it is kept, and its trace shown), or where
too few of the lines were reached.
"""

import argparse
import hashlib
import importlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import rich.console
import rich.progress

TARGETS = ("parsing", "evaluation", "patterns", "linting")
LEAST = 0.9
_LONGEST_INPUT = 1024
_TRACE_LINES = 40
_RUNS = re.compile(r"(?:stat::number_of_executed_units:|Done|#)\s*(\d+)")
_CONSOLE = rich.console.Console(stderr=True)


@dataclass(frozen=True)
class Run:
    """What one target's run came to."""

    target: str
    runs: int
    seconds: float
    trace: str
    """The end of what the fuzzer said, where it found something."""


def main(arguments: list[str]) -> int:
    """Fuzz one target after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", help=f"which: {', '.join(TARGETS)} (default: all)")
    parser.add_argument("--runs", type=int, default=0, help="how many inputs to try")
    parser.add_argument("--seconds", type=int, default=0, help="for how long to try them")
    parser.add_argument("--least", type=float, default=LEAST, help="share of lines to reach")
    parser.add_argument("--corpus", type=Path, help="a folder that keeps what was found, by target")
    options = parser.parse_args(arguments)
    if not options.runs and not options.seconds:
        parser.error("say --runs or --seconds")
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no target named {', '.join(sorted(unknown))}")
    good = True
    with tempfile.TemporaryDirectory() as folder:
        for target in options.targets or TARGETS:
            corpus = (options.corpus or Path(folder)) / target
            _plant(target, corpus)
            run = fuzz(target, corpus, runs=options.runs, seconds=options.seconds)
            rate = run.runs / run.seconds
            print(f"{target}: {run.runs:,} inputs in {run.seconds:,.0f} s, {rate:,.0f} a second")
            good &= not run.trace
            if run.trace:
                print(run.trace)
            elif _report(target, corpus) < options.least:
                good = False
    return 0 if good else 1


def fuzz(target: str, corpus: Path, *, runs: int = 0, seconds: int = 0) -> Run:
    """Run the fuzzer's process until it has done enough or found something."""
    command = [sys.executable, "-m", "tests.fuzz.child", target, str(corpus)]
    command += [f"-max_len={_LONGEST_INPUT}", "-print_final_stats=1", "-rss_limit_mb=2048"]
    command += [f"-artifact_prefix={corpus.parent}/found-"]
    command += [f"-atheris_runs={runs}"] if runs else []
    command += [f"-max_total_time={seconds}"] if seconds else []
    began = time.monotonic()
    tried = 0
    last: deque[str] = deque(maxlen=_TRACE_LINES)
    with (
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as child,
        rich.progress.Progress(console=_CONSOLE, transient=True) as progress,
    ):
        bar = progress.add_task(target, total=runs or None)
        assert child.stdout is not None, "it is a pipe"
        for line in child.stdout:
            last.append(line.rstrip())
            if found := _RUNS.match(line):
                tried = int(found.group(1))
                progress.update(bar, completed=tried)
    return Run(
        target=target,
        runs=tried,
        seconds=time.monotonic() - began,
        trace="\n".join(last) if child.returncode else "",
    )


def coverage(target: str, corpus: Path) -> dict[str, tuple[int, list[int]]]:
    """By module: how many lines have a statement, and which of them no input reaches."""
    command = [sys.executable, "-m", "tests.fuzz.covering", target, str(corpus)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return {name: (lines, missed) for name, (lines, missed) in json.loads(done.stdout).items()}


def _plant(target: str, corpus: Path) -> None:
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in importlib.import_module(f"tests.fuzz.{target}").seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:20]).write_bytes(seed)


def _report(target: str, corpus: Path) -> float:
    """Print which share of the lines was reached, and return it."""
    total = reached = 0
    for name, (lines, missed) in coverage(target, corpus).items():
        print(f"  {name:34} {1 - len(missed) / lines:6.1%}  not reached: {missed or 'none'}")
        total += lines
        reached += lines - len(missed)
    print(f"  {'together':34} {reached / total:6.1%}  of {total:,} lines")
    return reached / total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
