"""Fields that say nothing about who may talk to whom, which Cilium still refuses in another type.

They are looked at and left: labels and log of a rule, TLS, listeners, groups of a cloud provider.
"""

from typing import Final

from policies.decoding import Field

_MAX_UINT8: Final = 255


def of_spec(spec: Field) -> None:
    """The fields of a `spec` beside its selector and rules. Raises PolicyRejected."""
    spec["description"].text()
    _object(spec["log"])["value"].text()
    for entry in spec["labels"].entries():
        _label(entry)


def of_port_entry(entry: Field) -> None:
    """TLS and listener of an entry of toPorts. Raises PolicyRejected."""
    for name in ("terminatingTLS", "originatingTLS"):
        context = _object(entry[name])
        for key in ("trustedCA", "certificate", "privateKey"):
            context[key].text()
        secret(context["secret"])
    listener = _object(entry["listener"])
    listener["name"].text()
    listener["priority"].integer(low=0, high=_MAX_UINT8)
    for key in ("kind", "name"):
        _object(listener["envoyConfig"])[key].text()


def secret(node: Field) -> None:
    """The name of a Secret. Raises PolicyRejected."""
    for key in ("name", "namespace"):
        _object(node)[key].text()


def group(node: Field) -> None:
    """Which addresses a cloud provider is asked for. Raises PolicyRejected."""
    aws = _object(_object(node)["aws"])
    aws["region"].text()
    aws["labels"].strings()
    for name in ("securityGroupsIds", "securityGroupsNames"):
        for entry in aws[name].entries():
            entry.text()


def _label(entry: Field) -> None:
    """A label, as an object or in short: `source:key=value`."""
    if isinstance(entry.value, str):
        if not entry.value:
            raise entry.reject("must not be empty")
        return
    entry.object()
    for key in ("source", "value"):
        entry[key].text()
    if not entry["key"].text():
        raise entry["key"].reject("must be given")


def _object(node: Field) -> Field:
    node.object()
    return node
