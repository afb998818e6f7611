"""The identity of an alert: flows with one fingerprint are one alert.

It is the SHA-256, in hexadecimal and cut to 32 characters, of a JSON list: the version of this
scheme, the cluster, the policy's kind, namespace and name, the direction, the reason, and kind,
namespace and app of subject and peer. It must not change between releases, or every open alert
would start anew: the version says so if it ever does.
"""

import hashlib
import json
from collections.abc import Collection
from typing import Final

from policies.explanation import Reason
from policies.flows import Direction
from policies.model import PolicyRef
from policies.naming import Party

VERSION: Final = 1
LENGTH: Final = 32

_ALL: Final = ("direction", "reason", "subject", "peer")


def fingerprint(
    cluster: str,
    policy: PolicyRef,
    *,
    direction: Direction,
    reason: Reason,
    subject: Party,
    peer: Party,
    group_by: Collection[str] = (),
) -> str:
    """The fingerprint; `group_by` as in the annotation: only what it names tells alerts apart."""
    wanted = group_by or _ALL
    parts: dict[str, list[str]] = {
        "direction": [direction.value],
        "reason": [reason.value],
        "subject": [subject.kind.value, subject.namespace, subject.app],
        "peer": [peer.kind.value, peer.namespace, peer.app],
    }
    told = [parts[name] if name in wanted else [] for name in _ALL]
    text = json.dumps(
        [VERSION, cluster, policy.kind, policy.namespace, policy.name, *told],
        separators=(",", ":"),
        ensure_ascii=True,
    )
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]
