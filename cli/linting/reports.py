"""Reports for programs: JSON, SARIF 2.1.0, and GitLab's Code Quality."""

import json
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final

from cli.linting import report
from cli.linting.report import Report, Spot, Told
from policies.linting.findings import Rule, Severity

_SARIF: Final = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
_GITLAB: Final = {Severity.ERROR: "critical", Severity.WARNING: "minor", Severity.INFO: "info"}


def as_json(made: Report) -> str:
    """Everything, for scripts."""
    found = made.count()
    summary = {
        "files": made.files,
        "policies": made.policies,
        "other_objects": made.others,
        "ignored": made.ignored,
        "errors": found[Severity.ERROR],
        "warnings": found[Severity.WARNING],
        "notes": found[Severity.INFO],
    }
    return _dumped({"summary": summary, "findings": [_finding(told) for told in made.findings]})


def _finding(told: Told) -> dict[str, Any]:
    subject = told.subject
    return {
        "rule": told.rule.id,
        "severity": told.rule.severity.value,
        "message": told.message,
        "hint": told.hint or None,
        **_place(told.spot),
        "object": None
        if subject is None
        else {"kind": subject.kind, "namespace": subject.namespace, "name": subject.name},
        "path": told.path or None,
        "elsewhere": None
        if told.elsewhere is None
        else {"note": told.note, **_place(told.elsewhere)},
    }


def _place(spot: Spot) -> dict[str, Any]:
    return {
        "file": spot.file,
        "line": spot.line,
        "column": spot.column,
        "end_line": spot.end_line,
        "end_column": spot.end_column,
    }


def as_gitlab(made: Report) -> str:
    """GitLab's Code Quality report: shown beside the changed lines of a merge request."""
    prints = report.fingerprints(made.findings)
    return _dumped(
        [
            {
                "description": sentence(told),
                "check_name": told.rule.id,
                "fingerprint": fingerprint,
                "severity": _GITLAB[told.rule.severity],
                "location": {
                    "path": report.uri(told.spot.file),
                    "lines": {"begin": told.spot.line, "end": told.spot.end_line},
                },
            }
            for told, fingerprint in zip(made.findings, prints, strict=True)
        ]
    )


def as_sarif(made: Report, rules: Sequence[Rule], *, version: str) -> str:
    """The format of code scanning tools."""
    places = {rule.id: index for index, rule in enumerate(rules)}
    prints = report.fingerprints(made.findings)
    driver = {
        "name": "picket policy lint",
        "semanticVersion": version,
        "rules": [_rule(rule) for rule in rules],
    }
    results = [
        _result(told, places[told.rule.id], fingerprint)
        for told, fingerprint in zip(made.findings, prints, strict=True)
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return _dumped({"$schema": _SARIF, "version": "2.1.0", "runs": [run]})


def _rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")),
        "shortDescription": {"text": rule.what},
        "fullDescription": {"text": f"{rule.what} {rule.why}"},
        "help": {"text": rule.mend, "markdown": rule.mend},
        "defaultConfiguration": {"level": _LEVELS[rule.severity]},
    }


def _result(told: Told, index: int, fingerprint: str) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": told.rule.id,
        "ruleIndex": index,
        "level": _LEVELS[told.rule.severity],
        "message": {"text": sentence(told)},
        "locations": [_location(told.spot, told)],
        "partialFingerprints": {"picket/v1": fingerprint},
    }
    if told.elsewhere is not None:
        related = {"id": 1, "message": {"text": told.note}, **_location(told.elsewhere)}
        result["relatedLocations"] = [related]
    return result


def _location(spot: Spot, told: Told | None = None) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": urllib.parse.quote(report.uri(spot.file))},
            "region": {
                "startLine": spot.line,
                "startColumn": spot.column,
                "endLine": spot.end_line,
                "endColumn": spot.end_column,
            },
        }
    }
    if told is not None and told.subject is not None:
        name = f"{told.subject}: {told.path}" if told.path else str(told.subject)
        location["logicalLocations"] = [{"fullyQualifiedName": name, "kind": "object"}]
    return location


def sentence(told: Told) -> str:
    """A finding in one line, for who does not see the file."""
    where = f"{told.subject}, {told.path}: " if told.subject and told.path else ""
    hint = f" ({told.hint})" if told.hint else ""
    return f"{where}{told.message}{hint}"


def _dumped(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
