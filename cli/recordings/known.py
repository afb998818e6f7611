"""The policies of a folder or a file, with the place where each stands."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent import folder
from policies.decoding import PolicyRejected
from policies.model import KINDS, PolicyRef
from policies.repository import Repository
from runtime.errors import UserError
from runtime.supervisor import PREFIX

_TOLD = 10
"""How many refused objects are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class Known:
    """Policies, and what else of a cluster they refer to, as if they had always held."""

    repository: Repository
    places: Mapping[PolicyRef, str]
    """`file:line` of each policy."""
    refused: tuple[str, ...] = field(default=())
    """One line for each object that Cilium would not take: it contributes nothing."""

    @property
    def count(self) -> int:
        """Return how many policies there are."""
        return len(self.places)


def read(path: Path) -> Known:
    """Read all manifests. Raises UserError where one cannot be read: it might change everything."""
    if not path.exists():
        raise UserError(f"there is no folder or file {path}")
    try:
        snapshot = folder.Folder(path).read()
    except folder.Missing as error:
        raise UserError(str(error)) from error
    if snapshot.problems:
        first, *more = snapshot.problems
        rest = f" (and {len(more)} more)" if more else ""
        raise UserError(f"{_place(path, first.where)}: {first.reason}{rest}")
    repository = Repository()
    places: dict[PolicyRef, str] = {}
    refused = []
    for identity, wanted in snapshot.objects.items():
        origin = wanted.provenance
        where = _place(path, f"{origin.path}:{origin.line}" if origin else str(identity))
        if identity.kind in KINDS:
            places[PolicyRef(identity.kind, identity.namespace, identity.name)] = where
        try:
            repository.apply(identity.key(""), wanted.manifest, since=None)
        except PolicyRejected as error:
            refused.append(f"{where}: {identity} is not in force: {error}")
    return Known(repository, places, tuple(refused))


def tell(known: Known, path: Path) -> None:
    """Say on standard error what a person has to know of policies before reading what they do."""
    for line in known.refused[:_TOLD]:
        sys.stderr.write(f"{PREFIX}{line}\n")
    if len(known.refused) > _TOLD:
        sys.stderr.write(f"{PREFIX}and {len(known.refused) - _TOLD} more that are not in force\n")
    if not known.count:
        sys.stderr.write(f"{PREFIX}no policies in {path}\n")


def _place(path: Path, where: str) -> str:
    """Return a place as somebody in the working directory would name it."""
    return str(path.parent / where) if path.is_file() else str(path / where)
