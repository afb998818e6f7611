"""Reading a manifest strictly: each value knows its path, and the wrong type is a clear refusal.

As with the API server's JSON, null is absence and unknown fields are left alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass


class PolicyRejected(Exception):
    """Cilium would refuse this object as a whole; `path` says where, such as spec.ingress[1]."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


@dataclass(frozen=True, slots=True)
class Field:
    """A value of the manifest with its path; None where it is absent."""

    path: str
    value: object

    def reject(self, message: str) -> PolicyRejected:
        """The refusal to raise for this value."""
        return PolicyRejected(self.path, message)

    def __bool__(self) -> bool:
        return self.value is not None

    def __getitem__(self, key: str) -> "Field":
        path = f"{self.path}.{key}" if self.path else key
        if self.value is None:
            return Field(path, None)
        if not isinstance(self.value, Mapping):
            raise self.reject(f"must be an object, not {_kind(self.value)}")
        return Field(path, self.value.get(key))

    def entries(self) -> "Iterator[Field]":
        """The entries of a list; none where it is absent."""
        if self.value is None:
            return
        if not isinstance(self.value, list | tuple):
            raise self.reject(f"must be a list, not {_kind(self.value)}")
        for index, entry in enumerate(self.value):
            yield Field(f"{self.path}[{index}]", entry)

    def count(self) -> int:
        """How many entries a list has; 0 where it is absent."""
        if self.value is None:
            return 0
        if not isinstance(self.value, list | tuple):
            raise self.reject(f"must be a list, not {_kind(self.value)}")
        return len(self.value)

    def object(self) -> Mapping[str, object]:
        """An object; empty where it is absent."""
        if self.value is None:
            return {}
        if not isinstance(self.value, Mapping):
            raise self.reject(f"must be an object, not {_kind(self.value)}")
        return self.value

    def strings(self) -> dict[str, str]:
        """An object of strings; empty where it is absent."""
        result: dict[str, str] = {}
        for key, value in self.object().items():
            if value is not None and not isinstance(value, str):
                raise Field(f"{self.path}.{key}", value).reject(
                    f"must be a string, not {_kind(value)}"
                )
            result[key] = value or ""
        return result

    def text(self, default: str = "") -> str:
        """A string."""
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            raise self.reject(f"must be a string, not {_kind(self.value)}")
        return self.value

    def integer(self, *, low: int, high: int, default: int = 0) -> int:
        """A whole number within bounds."""
        if self.value is None:
            return default
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.reject(f"must be a whole number, not {_kind(self.value)}")
        if not low <= self.value <= high:
            raise self.reject(f"must be between {low} and {high}")
        return self.value

    def boolean(self) -> bool | None:
        """True, false, or None where it is absent."""
        if self.value is None or isinstance(self.value, bool):
            return self.value
        raise self.reject(f"must be true or false, not {_kind(self.value)}")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "a boolean"
        case str():
            return "a string"
        case int() | float():
            return "a number"
        case Mapping():
            return "an object"
        case _:
            return "a list"
