"""What a run of the linter found, ready to be written in any format. Lines count from 1 here."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from policies.linting.findings import Rule, Severity

ORDER = (Severity.ERROR, Severity.WARNING, Severity.INFO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A stretch of a file; the end is the character after the last."""

    file: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The object that a finding is about."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        where = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {where}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One finding with its place."""

    rule: Rule
    spot: Spot
    message: str
    hint: str = ""
    subject: Subject | None = None
    path: str = ""
    """In the manifest, such as `spec.ingress[0]`; empty where the file itself is to blame."""
    source: str = ""
    """The line of the file."""
    elsewhere: Spot | None = None
    note: str = ""
    """What stands elsewhere."""


@dataclass(slots=True, kw_only=True)
class Report:
    """All findings, by file and line, and what was looked at."""

    findings: list[Told] = field(default_factory=list)
    files: int = 0
    policies: int = 0
    others: int = 0
    """Objects that are no policies."""
    patches: int = 0
    """Files that are patches of a kustomization."""
    ignored: int = 0
    """Findings that comments switched off."""

    def count(self) -> Counter[Severity]:
        """How many findings of each severity."""
        return Counter(told.rule.severity for told in self.findings)

    def fails(self, *, strict: bool) -> bool:
        """Whether a pipeline should stop here."""
        found = self.count()
        return bool(found[Severity.ERROR] or (strict and found[Severity.WARNING]))


def fingerprints(findings: Sequence[Told]) -> list[str]:
    """One a finding, the same from run to run while lines move: what, where and in which object."""
    seen: Counter[str] = Counter()
    made = []
    for told in findings:
        text = "\0".join((told.rule.id, told.spot.file, str(told.subject or ""), told.path))
        if not told.path:
            text += told.message
        seen[text] += 1
        made.append(hashlib.sha256(f"{text}\0{seen[text]}".encode()).hexdigest()[:32])
    return made


def uri(file: str) -> str:
    """A file's name as reports for other programs have it: relative, with slashes."""
    return PurePosixPath(file.replace("\\", "/")).as_posix()
