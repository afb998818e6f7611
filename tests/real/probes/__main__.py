"""The whole of the packet probes: `python -m tests.real.probes --sets 200 --seed 1`.

Prints a table and each disagreement with its set; `--write` puts the figures into docs/probes.md.
Exit 1 where the matcher and Cilium differ, 2 where Cilium cannot be had.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

import rich.console
import rich.progress

from tests.parts import cache
from tests.real.probes import population
from tests.real.probes.report import Report
from tests.real.probes.running import Lab, SetResult

CONSOLE = rich.console.Console()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.real.probes", description=__doc__)
    parser.add_argument("--sets", type=int, default=200, help="how many policy sets")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the number of the first set")
    parser.add_argument("--write", action="store_true", help="write docs/probes.md")
    options = parser.parse_args(arguments)
    numbers = range(options.first, options.first + options.sets)
    try:
        with population.new_cluster() as cluster:
            lab = Lab(population.populate(cluster))
            results = list(_run(lab, options.seed, numbers))
    except cache.Missing as missing:
        CONSOLE.print(f"not run: {missing}", markup=False)
        return 2
    report = Report(results, seed=options.seed)
    CONSOLE.print(report.table())
    for name, value in report.facts():
        CONSOLE.print(f"{name:24} {value}", markup=False)
    if options.write:
        report.write()
    return 1 if report.disagreeing else 0


def _run(lab: Lab, seed: int, numbers: Sequence[int]) -> Iterator[SetResult]:
    columns = (
        *rich.progress.Progress.get_default_columns(),
        rich.progress.MofNCompleteColumn(),
    )
    with rich.progress.Progress(*columns, console=CONSOLE) as progress:
        for number in progress.track(numbers, description="policy sets"):
            result = lab.run(seed, number)
            _tell(result)
            yield result


def _tell(result: SetResult) -> None:
    """Show what differed, with the policies, as far as there is anything."""
    for each in result.disagreeing:
        CONSOLE.print(f"set {result.number}: {each.probe}", markup=False)
        for difference in each.disagreements:
            CONSOLE.print(f"    {difference}", markup=False)
    for policy in result.policies if result.disagreeing else ():
        CONSOLE.print(f"    {json.dumps(policy)}", markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
