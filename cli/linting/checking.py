"""One run of the linter: files in, a report out.

Every file is read before the first policy is looked at: rules know what else is there.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

from cli.linting import documents, files, ignoring, places, scalars
from cli.linting.documents import Contents, Document, Problem
from cli.linting.files import Source
from cli.linting.report import Report, Spot, Subject, Told
from policies.linting import findings, linter
from policies.linting.findings import Elsewhere, Finding, Rule

RULES: Final[tuple[Rule, ...]] = (
    *(documents.UNREADABLE, documents.TEMPLATE, documents.TWICE),
    *linter.RULES,
    *(ignoring.BAD, ignoring.UNUSED),
)
"""All rules, in the order of the page."""
KNOWN: Final = frozenset(rule.id for rule in RULES)

_KUSTOMIZATIONS: Final = frozenset({"Kustomization", "Component"})


@dataclass(slots=True)
class _File:
    source: Source
    text: str
    contents: Contents
    first: int
    """The number of its first object."""
    is_patch: bool = False
    _lines: list[str] = field(default_factory=list)

    def line(self, number: int) -> str:
        """One line, counted from 0; split only where somebody asks."""
        if not self._lines:
            self._lines = self.text.split("\n")
        return self._lines[number].rstrip("\r") if number < len(self._lines) else ""


@dataclass(slots=True)
class Run:
    """What to look for, and in what. `step` is called for each file read and each one linted."""

    linter: linter.Linter
    rules: frozenset[str] = KNOWN
    step: Callable[[], None] = lambda: None

    def check(self, sources: Sequence[Source]) -> Report:
        """Read and lint all files."""
        # What is read stays until the report: looking through it for garbage finds none.
        collecting = gc.isenabled()
        gc.disable()
        try:
            return self._check(sources)
        finally:
            if collecting:
                gc.enable()

    def _check(self, sources: Sequence[Source]) -> Report:
        made = Report(files=len(sources))
        loaded = [self._read(source) for source in sources]
        numbers = _numbered(loaded)
        meant: set[int] = set()
        patches = _patches(loaded)
        for file in loaded:
            file.is_patch = file.source.name in patches
            made.patches += file.is_patch
        for number, (file, document) in numbers.items():
            if not file.is_patch and self.linter.gather(number, document.manifest):
                meant.add(number)
        made.policies = len(meant)
        made.others = len(numbers) - len(meant)
        for file in loaded:
            self._lint(file, meant, numbers, made)
            self.step()
        made.findings.sort(key=lambda told: (told.spot.file, told.spot.line, told.spot.column))
        return made

    def _read(self, source: Source) -> _File:
        self.step()
        text = files.read(source)
        if isinstance(text, files.Unread):
            problem = Problem(documents.UNREADABLE, text.reason, text.line - 1)
            return _File(source, "", Contents(problems=[problem]), 0)
        return _File(source, text, documents.parse(text), 0)

    def _lint(
        self,
        file: _File,
        meant: set[int],
        numbers: Mapping[int, tuple[_File, Document]],
        made: Report,
    ) -> None:
        folder = PurePosixPath(file.source.name).parent.as_posix()
        comments = ignoring.comments(file.text, file.contents.documents)
        found = [_problem(file, problem) for problem in file.contents.problems]
        for offset, document in enumerate(file.contents.documents):
            number = file.first + offset
            if number in meant:
                found += [
                    _told(file, document, finding, numbers)
                    for finding in self.linter.check(number, document.manifest, folder)
                ]
        for told in found:
            if told.rule.id not in self.rules:
                continue
            taken = [one for one in comments if one.takes(told.rule, told.spot.line - 1)]
            if taken:
                made.ignored += 1
            else:
                made.findings.append(told)
        for problem in ignoring.problems(comments, KNOWN, self.rules):
            if problem.rule.id in self.rules:
                made.findings.append(_problem(file, problem))


def _told(
    file: _File,
    document: Document,
    finding: Finding,
    numbers: Mapping[int, tuple[_File, Document]],
) -> Told:
    spot = _spot(file, document, finding.path, at_key=finding.at_key)
    source = file.line(spot.line - 1)
    surprise = scalars.surprise(source[spot.column - 1 : spot.end_column - 1])
    return Told(
        rule=finding.rule,
        spot=spot,
        message=f"{finding.message} ({surprise})" if surprise else finding.message,
        hint=finding.hint,
        subject=_subject(document.manifest),
        path=findings.text(finding.path),
        source=source,
        elsewhere=_elsewhere(finding, numbers),
        note=finding.elsewhere.note if finding.elsewhere else "",
    )


def _numbered(loaded: Sequence[_File]) -> dict[int, tuple[_File, Document]]:
    numbers: dict[int, tuple[_File, Document]] = {}
    for file in loaded:
        file.first = len(numbers)
        for document in file.contents.documents:
            numbers[len(numbers)] = file, document
    return numbers


def _patches(loaded: Sequence[_File]) -> frozenset[str]:
    """Files that a kustomization names as patches: parts of objects, not objects."""
    found = set()
    for file in loaded:
        for document in file.contents.documents:
            if document.manifest.get("kind") in _KUSTOMIZATIONS:
                folder = PurePosixPath(file.source.name).parent
                found |= {_plain(folder / name) for name in _patch_names(document.manifest)}
    return frozenset(found)


def _patch_names(kustomization: Mapping[str, Any]) -> Iterator[str]:
    for key in ("patches", "patchesStrategicMerge", "patchesJson6902"):
        entries = kustomization.get(key)
        for entry in entries if isinstance(entries, list) else ():
            name = entry.get("path") if isinstance(entry, Mapping) else entry
            if isinstance(name, str) and "\n" not in name:
                yield name


def _plain(path: PurePosixPath) -> str:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        elif part != ".":
            parts.append(part)
    return PurePosixPath(*parts).as_posix()


def _problem(file: _File, problem: Problem) -> Told:
    spot = Spot(
        file=file.source.name,
        line=problem.line + 1,
        column=problem.column + 1,
        end_line=problem.line + 1,
        end_column=problem.column + 2,
    )
    return Told(
        rule=problem.rule,
        spot=spot,
        message=problem.message,
        hint=problem.hint,
        source=file.line(problem.line),
    )


def _spot(file: _File, document: Document, path: findings.Path, *, at_key: bool) -> Spot:
    place = places.of(document, path, at_key=at_key)
    return Spot(
        file=file.source.name,
        line=place.line + 1,
        column=place.column + 1,
        end_line=place.end_line + 1,
        end_column=place.end_column + 1,
    )


def _elsewhere(finding: Finding, numbers: Mapping[int, tuple[_File, Document]]) -> Spot | None:
    other: Elsewhere | None = finding.elsewhere
    if other is None:
        return None
    file, document = numbers[other.object]
    return _spot(file, document, other.path, at_key=False)


def _subject(manifest: Mapping[str, Any]) -> Subject:
    metadata = manifest.get("metadata")
    known = metadata if isinstance(metadata, Mapping) else {}
    return Subject(
        kind=str(manifest.get("kind") or ""),
        namespace=str(known.get("namespace") or ""),
        name=str(known.get("name") or known.get("generateName") or ""),
    )
