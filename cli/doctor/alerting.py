"""Whether any policy alerts at all: the reason why most first runs stay silent."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from agent import folder
from cli.doctor.finding import About, Finding, listed
from policies import alerting
from policies.decoding import Field, PolicyRejected

KINDS = frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy", "NetworkPolicy"})
MARK = (
    f'give one the label {alerting.PROJECT_LABEL}: "<project id>" and the annotation'
    f' {alerting.ALERT_ANNOTATION}: "true"'
)

_POLICIES = About("policies")


def examine(path: Path) -> Iterator[Finding]:
    """Look at the policies of a folder."""
    try:
        snapshot = folder.Folder(path).read()
    except folder.Missing as error:
        yield _POLICIES.problem(str(error), "name the folder with --policies")
        return
    if snapshot.problems:
        first = snapshot.problems[0]
        yield _POLICIES.problem(
            f"{len(snapshot.problems)} files or objects cannot be taken: {first.where},"
            f" {first.reason}",
            f"picket policy lint {path} shows all of them",
        )
    yield counted(wanted.manifest for wanted in snapshot.objects.values())


def counted(manifests: Iterable[Mapping[str, Any]]) -> Finding:
    """Return how many policies there are, and how many of them alert."""
    total, alerts = 0, 0
    warned: list[str] = []
    for manifest in manifests:
        if manifest.get("kind") not in KINDS:
            continue
        total += 1
        try:
            reading = alerting.read(Field("", manifest)["metadata"])
        except PolicyRejected:
            continue
        alerts += reading.alerting is not None
        if reading.warnings:
            warned.append(f"{_name(manifest)}: {reading.warnings[0]}")
    said = f"{total} policies, {alerts} of them alert"
    if not total:
        return _POLICIES.problem("there is no policy", "apply one, or look at another place")
    if warned:
        return _POLICIES.warning(
            f"{said}; {listed(warned, most=2)}", "picket policy lint explains what it means"
        )
    return _POLICIES.fine(said) if alerts else _POLICIES.warning(said, MARK)


def _name(manifest: Mapping[str, Any]) -> str:
    metadata = manifest.get("metadata") or {}
    return "/".join(filter(None, (metadata.get("namespace"), metadata.get("name"))))
