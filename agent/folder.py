"""A folder of manifests as it is now: what can be read, and what stands in the way.

It reads files and knows nothing of the log. A file is parsed again only where its size, time or
inode changed.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent import kinds, manifests, plan
from agent.source import Problem
from schemas import messages

SUFFIXES = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One reading of the whole folder."""

    objects: Mapping[kinds.Identity, plan.Wanted]
    problems: tuple[Problem, ...]
    held_paths: frozenset[str]
    """Files that are there and cannot be taken."""
    held: frozenset[kinds.Identity]
    """Objects that stand in more than one place."""
    ignored: Mapping[str, int]
    """How many objects of each kind matching has no use for."""


class Missing(Exception):
    """The folder itself cannot be read, which says nothing about what was in it."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    modified: int
    size: int
    inode: int


@dataclass(slots=True)
class Folder:
    """Reads `root`, a folder or a single file, again and again. Dot files and folders are left."""

    root: Path
    _seen: dict[str, tuple[_Stamp, manifests.Contents | Problem]] = field(default_factory=dict)

    def read(self) -> Snapshot:
        """Return what is there now. Raises Missing."""
        readings: dict[str, manifests.Contents | Problem] = {}
        seen = {}
        for path, name in self._files():
            stamp, contents = self._file(path, name)
            readings[name] = contents
            if stamp is not None:
                seen[name] = (stamp, contents)
        self._seen = seen
        return _snapshot(readings)

    def _files(self) -> Iterator[tuple[Path, str]]:
        if self.root.is_file():
            yield self.root, self.root.name
            return

        def fail(error: OSError) -> None:
            raise Missing(f"cannot read folder {error.filename}: {error.strerror}") from error

        for folder, subfolders, files in os.walk(self.root, onerror=fail):
            subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
            for name in sorted(files):
                path = Path(folder, name)
                if path.suffix.lower() in SUFFIXES and not name.startswith("."):
                    yield path, path.relative_to(self.root).as_posix()

    def _file(self, path: Path, name: str) -> tuple[_Stamp | None, manifests.Contents | Problem]:
        try:
            found = path.stat()
            stamp = _Stamp(found.st_mtime_ns, found.st_size, found.st_ino)
            before = self._seen.get(name)
            if before is not None and before[0] == stamp:
                return before
            if found.st_size > manifests.MAX_FILE_BYTES:
                reason = (
                    f"is {found.st_size:,} bytes; a manifest may have {manifests.MAX_FILE_BYTES:,}"
                )
                return stamp, Problem(path=name, line=None, reason=reason)
            content = path.read_bytes()
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
            return None, Problem(path=name, line=None, reason=reason)
        return stamp, _contents(name, content)


def _contents(name: str, content: bytes) -> manifests.Contents | Problem:
    digest = hashlib.sha256(content).hexdigest()
    try:
        return manifests.parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        reason = "is not UTF-8 text"
    except manifests.Unreadable as error:
        line, reason = error.line or 0, error.reason
    return Problem(path=name, line=line or None, reason=reason, content=content, digest=digest)


def _snapshot(readings: Mapping[str, manifests.Contents | Problem]) -> Snapshot:
    objects: dict[kinds.Identity, plan.Wanted] = {}
    problems: list[Problem] = []
    places: dict[kinds.Identity, str] = {}
    held: set[kinds.Identity] = set()
    ignored: Counter[str] = Counter()
    for path, contents in readings.items():
        if isinstance(contents, Problem):
            problems.append(contents)
            continue
        ignored.update(contents.ignored)
        for document in contents.documents:
            where = places.setdefault(document.identity, f"{path}:{document.line}")
            if document.identity in objects:
                held.add(document.identity)
                reason = f"{document.identity} stands in {where} as well; keep one of them"
                problems.append(Problem(path=path, line=document.line, reason=reason))
                continue
            objects[document.identity] = plan.Wanted(
                manifest=document.manifest,
                meaning=document.meaning,
                provenance=messages.Provenance(path=path, line=document.line),
                changed_at=document.changed_at,
                created_at=document.created_at,
            )
    return Snapshot(
        objects={identity: want for identity, want in objects.items() if identity not in held},
        problems=tuple(problems),
        held_paths=frozenset(
            path for path, contents in readings.items() if isinstance(contents, Problem)
        ),
        held=frozenset(held),
        ignored=ignored,
    )


def cluster_uid(snapshot: Snapshot) -> str:
    """Return the UID of namespace kube-system, which tells clusters of one name apart, or ''."""
    found = snapshot.objects.get(kinds.Identity("Namespace", "", "kube-system"))
    uid = found.manifest["metadata"].get("uid") if found else None
    return uid if isinstance(uid, str) else ""
