"""The fields of `metadata` that any object of Kubernetes has, and how Go writes them.

No CRD describes them; the API server reads them by its own types, for which null is absence.
"""

from typing import Final

from policies.crd.shapes import (
    Written,
    a_list,
    a_map,
    an_object,
    anything,
    boolean,
    number,
    or_null,
    text,
    written,
)

_ALWAYS: Final = written(or_null(text()), Written.ALWAYS)
_TEXT: Final = or_null(text())
_FLAG: Final = written(or_null(boolean()), Written.GIVEN)
_MAP: Final = or_null(a_map(_TEXT))

_OWNER: Final = an_object(
    {
        "apiVersion": _ALWAYS,
        "kind": _ALWAYS,
        "name": _ALWAYS,
        "uid": _ALWAYS,
        "controller": _FLAG,
        "blockOwnerDeletion": _FLAG,
    }
)
_MANAGER: Final = an_object(
    {
        "manager": _TEXT,
        "operation": _TEXT,
        "apiVersion": _TEXT,
        "time": _TEXT,
        "fieldsType": _TEXT,
        "fieldsV1": anything(),
        "subresource": _TEXT,
    }
)

METADATA: Final = an_object(
    {
        "name": _TEXT,
        "generateName": _TEXT,
        "namespace": _TEXT,
        "selfLink": _TEXT,
        "uid": _TEXT,
        "resourceVersion": _TEXT,
        "generation": or_null(number()),
        "creationTimestamp": _TEXT,
        "deletionTimestamp": _TEXT,
        "deletionGracePeriodSeconds": written(or_null(number()), Written.GIVEN),
        "labels": _MAP,
        "annotations": _MAP,
        "ownerReferences": or_null(a_list(_OWNER)),
        "finalizers": or_null(a_list(_TEXT)),
        "managedFields": or_null(a_list(_MANAGER)),
    }
)
IGNORED: Final = frozenset({("metadata", "name"), ("metadata", "creationTimestamp")})
"""What Cilium's own check leaves out when it compares."""
