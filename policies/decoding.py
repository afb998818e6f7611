"""Reading a manifest strictly: each value knows its path, and the wrong type is a clear refusal.

As with the API server's JSON, null is absence and unknown fields are left alone.
"""

from collections.abc import Iterator, Mapping


class PolicyRejected(Exception):
    """Cilium would refuse this object as a whole; `path` says where, such as spec.ingress[1]."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class Field:
    """A value of the manifest that knows its place; None where it is absent. Never changed.

    A plain class, and the path put together only when somebody asks: ten thousand policies have
    millions of these.
    """

    __slots__ = ("_key", "_parent", "value")

    def __init__(self, key: str, value: object, parent: "Field | None" = None) -> None:
        self._key = key
        self._parent = parent
        self.value = value

    @property
    def path(self) -> str:
        """Where it stands in the manifest, such as `spec.ingress[1].toPorts`."""
        before = "" if self._parent is None else self._parent.path
        if not before or self._key.startswith("["):
            return before + self._key
        return f"{before}.{self._key}"

    def reject(self, message: str) -> PolicyRejected:
        """The refusal to raise for this value."""
        return PolicyRejected(self.path, message)

    def __bool__(self) -> bool:
        return self.value is not None

    def __getitem__(self, key: str) -> "Field":
        value = self.value
        if type(value) is dict:
            return Field(key, value.get(key), self)
        if value is None:
            return Field(key, None, self)
        if not isinstance(value, Mapping):
            raise self.reject(f"must be an object, not {_kind(value)}")
        return Field(key, value.get(key), self)

    def entries(self) -> "Iterator[Field]":
        """The entries of a list; none where it is absent."""
        if self.value is None:
            return
        if not isinstance(self.value, list | tuple):
            raise self.reject(f"must be a list, not {_kind(self.value)}")
        for index, entry in enumerate(self.value):
            yield Field(f"[{index}]", entry, self)

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
            if not isinstance(key, str):
                raise self.reject(f"the key {key!r} must be a string")
            if value is not None and not isinstance(value, str):
                raise Field(key, value, self).reject(f"must be a string, not {_kind(value)}")
            result[key] = _unicode(self, value or "")
        return result

    def text(self, default: str = "") -> str:
        """A string."""
        if self.value is None:
            return default
        if not isinstance(self.value, str):
            raise self.reject(f"must be a string, not {_kind(self.value)}")
        return _unicode(self, self.value)

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


def _unicode(node: Field, text: str) -> str:
    """The text, unless it has half a surrogate pair: JSON can say so, no other text can."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise node.reject("is not valid Unicode") from error
    return text


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
