"""How Kubernetes spells names, and the keys and values of labels.

Source of the rules: k8s.io/apimachinery, util/validation. Texts come from manifests, of any length.
"""

import re
from typing import Final

_DNS_LABEL: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
_DNS_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
_NAME: Final = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_MAX_DNS_NAME: Final = 253
_MAX_NAME: Final = 63


def is_dns_label(text: str) -> bool:
    """Whether a namespace may have this name."""
    return len(text) <= _MAX_NAME and _DNS_LABEL.match(text) is not None


def is_dns_name(text: str) -> bool:
    """Whether an object may have this name."""
    return len(text) <= _MAX_DNS_NAME and _DNS_NAME.match(text) is not None


def bad_key(key: str) -> str:
    """Why a label cannot have this key, or the empty string."""
    prefix, slash, name = key.rpartition("/")
    if slash and not is_dns_name(prefix):
        return "what stands before the slash must be a lower-case DNS name"
    if len(name) > _MAX_NAME or _NAME.match(name) is None:
        return f"the name {'after the slash ' if slash else ''}must be 1 to 63 of A-Z a-z 0-9 - _ ."
    return ""


def bad_value(text: str) -> str:
    """Why a label cannot have this value, naming it, or the empty string."""
    if not text or (len(text) <= _MAX_NAME and _NAME.match(text) is not None):
        return ""
    return (
        f"{text!r} is no label's value: it is empty, or at most 63 letters, digits, -, _ and .,"
        " and begins and ends with a letter or digit"
    )
