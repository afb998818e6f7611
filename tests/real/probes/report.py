"""What a run of many sets came to: a table for people, and the figures in docs/probes.md.

The document is people's, but for the part between the two marks. No dates, no names of machines.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import rich.table

from tests.parts import relay
from tests.real.probes.kinds import Kind
from tests.real.probes.running import SetResult

DOCUMENT: Final = Path(__file__).parents[3] / "docs" / "probes.md"
BEGIN, END = "<!-- figures -->\n", "<!-- end of figures -->\n"
HEAD: Final = ("kind of peer", "sets", "probes", "stopped", "agree")


class Report:
    """The sum of the sets of a run."""

    def __init__(self, results: Sequence[SetResult], *, seed: int) -> None:
        self.results = results
        self.seed = seed
        self.judged = [each for result in results for each in result.judged]
        self.denied = sum(each.denied for each in self.judged)
        self.disagreeing = [each for each in self.judged if each.disagreements]
        self.repeated = sum(len(result.repeated) for result in results)

    @property
    def share(self) -> float:
        """Return the share of probes that Cilium stopped, in percent."""
        return 100 * self.denied / max(1, len(self.judged))

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Yield a row for each kind of peer: by the rules that decided a probe or did not allow it."""
        sets = Counter(kind for result in self.results for kind in result.kinds)
        for kind in Kind:
            probes = [each for each in self.judged if kind in each.kinds]
            denied = sum(each.denied for each in probes)
            agreeing = sum(not each.disagreements for each in probes)
            percent = f"{100 * denied / len(probes):.0f} %" if probes else "-"
            yield (kind.value, str(sets[kind]), str(len(probes)), percent, str(agreeing))

    def facts(self) -> Iterator[tuple[str, str]]:
        """Yield what the run as a whole came to."""
        shares = [100 * r.denied / len(r.judged) for r in self.results]
        sizes = [len(result.judged) for result in self.results]
        policies = Counter(policy["kind"] for result in self.results for policy in result.policies)
        yield "Cilium", f"{relay.VERSION}, two nodes"
        yield "sets", f"{len(self.results)}, seed {self.seed}"
        yield "policies", ", ".join(f"{count} {kind}" for kind, count in sorted(policies.items()))
        yield "probes", f"{len(self.judged)}; {min(sizes)} to {max(sizes)} a set"
        yield "stopped", f"{self.share:.0f} %; {min(shares):.0f} to {max(shares):.0f} % of a set"
        yield "verdicts compared", str(sum(each.decisions for each in self.judged))
        yield "denials explained", str(sum(each.explained for each in self.judged))
        yield "probes that disagree", str(len(self.disagreeing))
        yield "agreed when sent again", str(self.repeated)

    def table(self) -> rich.table.Table:
        """Return the table by kind of peer."""
        made = rich.table.Table(*HEAD)
        for row in self.rows():
            made.add_row(*row)
        return made

    def lines(self) -> Iterator[str]:
        """Yield the figures as Markdown."""
        yield "| | |"
        yield "|---|---|"
        for name, value in self.facts():
            yield f"| {name} | {value} |"
        yield ""
        yield f"| {' | '.join(HEAD)} |"
        yield "|---|---:|---:|---:|---:|"
        for row in self.rows():
            yield f"| {' | '.join(row)} |"

    def write(self) -> None:
        """Put the figures into the document in place of those of the run before."""
        before, begin, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
        _, end, after = rest.partition(END)
        assert (begin, end) == (BEGIN, END), f"{DOCUMENT} has lost its marks"
        text = "\n".join(self.lines())
        DOCUMENT.write_text(f"{before}{begin}{text}\n{end}{after}", "utf-8")
