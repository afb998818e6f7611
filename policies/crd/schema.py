"""The schema of CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, as rules of our own words.

Facts of Cilium 1.19: names, types, bounds and patterns of the fields; a test compares them with the
CRDs that Cilium ships. Both kinds have one schema. Expressions are RE2's and need to match
somewhere in the value only.
"""

from typing import Final

from policies.crd.metadata import METADATA
from policies.crd.shapes import (
    Schema,
    Written,
    a_list,
    a_map,
    an_object,
    boolean,
    number,
    text,
    written,
)

KINDS: Final = frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"})

_MOST_PORTS: Final = 40
_LONGEST_LABEL: Final = 63
_LONGEST_NAME: Final = 255
_LONGEST_OBJECT_NAME: Final = 253

_UP_TO_65535: Final = (
    "6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[1-5][0-9]{4}|[0-9]{1,4}"
)
# Each half is bound at one end only, so that 65536 passes here; the engine refuses it.
_PORT: Final = f"^({_UP_TO_65535})|([a-zA-Z0-9]-?)*[a-zA-Z](-?[a-zA-Z0-9])*$"
_UP_TO_255: Final = "[0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|25[0-5]"
_ICMP_NAMES: Final = (
    *("EchoReply", "DestinationUnreachable", "Redirect", "Echo", "RouterAdvertisement"),
    *("RouterSelection", "TimeExceeded", "ParameterProblem", "Timestamp", "TimestampReply"),
    *("Photuris", "ExtendedEchoRequest", "ExtendedEcho Reply", "PacketTooBig", "ParameterProblem"),
    *("EchoRequest", "MulticastListenerQuery", "MulticastListenerReport"),
    *("MulticastListenerDone", "RouterSolicitation", "RouterAdvertisement"),
    *("NeighborSolicitation", "NeighborAdvertisement", "RedirectMessage", "RouterRenumbering"),
    *("ICMPNodeInformationQuery", "ICMPNodeInformationResponse"),
    *("InverseNeighborDiscoverySolicitation", "InverseNeighborDiscoveryAdvertisement"),
    *("HomeAgentAddressDiscoveryRequest", "HomeAgentAddressDiscoveryReply"),
    *("MobilePrefixSolicitation", "MobilePrefixAdvertisement"),
    *("DuplicateAddressRequestCodeSuffix", "DuplicateAddressConfirmationCodeSuffix"),
)
"""Cilium writes ExtendedEchoReply with a space: the name that its engine knows is refused here."""
_ICMP_TYPE: Final = f"^({_UP_TO_255}|{'|'.join(_ICMP_NAMES)})$"
_LABEL_VALUE: Final = "^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$"
_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_DNS_NAME: Final = "^([-a-zA-Z0-9_]+[.]?)+$"
_DNS_PATTERN: Final = "^([-a-zA-Z0-9_*]+[.]?)+$"
_SERVER_NAME: Final = r"^(\*?\*\.)?([-a-zA-Z0-9_]+\.?)+$"
_PRINTABLE: Final = r"^\PC*$"

_PROTOCOLS: Final = ("TCP", "UDP", "SCTP", "VRRP", "IGMP", "ANY")
_ENTITIES: Final = (
    *("all", "world", "cluster", "host", "init", "ingress", "unmanaged", "remote-node", "health"),
    *("none", "kube-apiserver"),
)
_OPERATORS: Final = ("In", "NotIn", "Exists", "DoesNotExist")
_AUTHENTICATIONS: Final = ("disabled", "required", "test-always-fail")
_MISMATCHES: Final = ("LOG", "ADD", "DELETE", "REPLACE")
_ENVOY_KINDS: Final = ("CiliumEnvoyConfig", "CiliumClusterwideEnvoyConfig")

_INT64: Final = {"minimum": -(2**63), "maximum": 2**63 - 1}
"""What Kubernetes calls an integer: it reads anything beyond as a float."""

_CIDR: Final = text(form="cidr")
_ALWAYS_TEXT: Final = written(text(), Written.ALWAYS)

_SELECTOR: Final = an_object(
    {
        "matchLabels": a_map(text(pattern=_LABEL_VALUE, longest=_LONGEST_LABEL)),
        "matchExpressions": a_list(
            an_object(
                {"key": text(), "operator": text(among=_OPERATORS), "values": a_list(text())},
                needs=("key", "operator"),
            )
        ),
    }
)

_CIDR_RULE: Final = an_object(
    {
        "cidr": _CIDR,
        "cidrGroupRef": text(pattern=_SUBDOMAIN, longest=_LONGEST_OBJECT_NAME),
        "cidrGroupSelector": _SELECTOR,
        "except": a_list(_CIDR),
    },
    one_of=("cidr", "cidrGroupRef", "cidrGroupSelector"),
)

_GROUP: Final = an_object(
    {
        "aws": an_object(
            {
                "labels": a_map(),
                "region": text(),
                "securityGroupsIds": a_list(text()),
                "securityGroupsNames": a_list(text()),
            }
        )
    }
)

_DNS: Final = an_object(
    {
        "matchName": text(pattern=_DNS_NAME, longest=_LONGEST_NAME),
        "matchPattern": text(pattern=_DNS_PATTERN, longest=_LONGEST_NAME),
    },
    one_of=("matchName", "matchPattern"),
)

_SERVICE: Final = an_object(
    {
        "k8sService": an_object({"namespace": text(), "serviceName": text()}),
        "k8sServiceSelector": an_object(
            {"namespace": text(), "selector": _SELECTOR}, needs=("selector",)
        ),
    }
)

_ICMPS: Final = a_list(
    an_object(
        {
            "fields": a_list(
                an_object(
                    {
                        "family": text(among=("IPv4", "IPv6")),
                        "type": written(
                            {**_INT64, "type": ["integer", "string"], "pattern": _ICMP_TYPE},
                            Written.GIVEN,
                        ),
                    },
                    needs=("type",),
                ),
                most=_MOST_PORTS,
            )
        }
    )
)

_PORT_ENTRY: Final = an_object(
    {
        "port": text(pattern=_PORT),
        "endPort": number(low=0, high=65535),
        "protocol": text(among=_PROTOCOLS),
    }
)

_SECRET: Final = an_object({"name": _ALWAYS_TEXT, "namespace": text()}, needs=("name",))

_TLS: Final = an_object(
    {"secret": _SECRET, "trustedCA": text(), "certificate": text(), "privateKey": text()},
    needs=("secret",),
)

_HTTP: Final = an_object(
    {
        "path": text(),
        "method": text(),
        "host": text(),
        "headers": a_list(text()),
        "headerMatches": a_list(
            an_object(
                {
                    "mismatch": text(among=_MISMATCHES),
                    "name": text(shortest=1),
                    "secret": _SECRET,
                    "value": text(),
                },
                needs=("name",),
            )
        ),
    }
)

_KAFKA: Final = an_object(
    {
        "role": text(among=("produce", "consume")),
        "apiKey": text(),
        "apiVersion": text(),
        "clientID": text(),
        "topic": text(longest=_LONGEST_NAME),
    }
)

_L7: Final = an_object(
    {
        "http": a_list(_HTTP),
        "kafka": a_list(_KAFKA),
        "dns": a_list(_DNS),
        "l7proto": text(),
        "l7": a_list(a_map()),
    },
    one_of=("http", "kafka", "dns", "l7proto"),
)

_LISTENER: Final = an_object(
    {
        "envoyConfig": an_object(
            {
                "kind": written(text(among=_ENVOY_KINDS), Written.ALWAYS),
                "name": text(shortest=1),
            },
            needs=("name",),
        ),
        "name": text(shortest=1),
        "priority": written(number(low=1, high=100), Written.ALWAYS),
    },
    needs=("envoyConfig", "name"),
)

_TO_PORTS: Final = a_list(
    an_object(
        {
            "ports": a_list(_PORT_ENTRY, most=_MOST_PORTS),
            "rules": _L7,
            "serverNames": a_list(
                text(pattern=_SERVER_NAME, longest=_LONGEST_NAME), least=1, unique=True
            ),
            "listener": _LISTENER,
            "originatingTLS": _TLS,
            "terminatingTLS": _TLS,
        }
    )
)
# How many ports a denying rule may have is left to the engine.
_DENIED_PORTS: Final = a_list(an_object({"ports": a_list(_PORT_ENTRY)}))


def _peers(prefix: str) -> dict[str, Schema]:
    return {
        f"{prefix}Endpoints": a_list(_SELECTOR),
        f"{prefix}Entities": a_list(text(among=_ENTITIES)),
        f"{prefix}CIDR": a_list(_CIDR),
        f"{prefix}CIDRSet": a_list(_CIDR_RULE),
        f"{prefix}Groups": a_list(_GROUP),
        f"{prefix}Nodes": a_list(_SELECTOR),
        f"{prefix}Requires": a_list(text(), most=0),  # refused since 1.19 unless it is empty
    }


def _rules(prefix: str, *, deny: bool) -> Schema:
    fields = {**_peers(prefix), "icmps": _ICMPS, "toPorts": _DENIED_PORTS if deny else _TO_PORTS}
    if prefix == "to":
        fields["toServices"] = a_list(_SERVICE)
    if not deny:
        fields["authentication"] = an_object(
            {"mode": text(among=_AUTHENTICATIONS)}, needs=("mode",)
        )
        if prefix == "to":
            fields["toFQDNs"] = a_list(_DNS)
    return a_list(an_object(fields))


_SPEC: Final = an_object(
    {
        "description": text(),
        "endpointSelector": _SELECTOR,
        "nodeSelector": _SELECTOR,
        "enableDefaultDeny": an_object(
            {
                "ingress": written(boolean(), Written.GIVEN),
                "egress": written(boolean(), Written.GIVEN),
            }
        ),
        "ingress": _rules("from", deny=False),
        "ingressDeny": _rules("from", deny=True),
        "egress": _rules("to", deny=False),
        "egressDeny": _rules("to", deny=True),
        "labels": a_list(
            an_object({"key": text(), "source": _ALWAYS_TEXT, "value": text()}, needs=("key",))
        ),
        "log": an_object({"value": text(pattern=_PRINTABLE, longest=32)}),
    },
    one_of=("endpointSelector", "nodeSelector"),
    any_of=("ingress", "ingressDeny", "egress", "egressDeny"),
)

_TIME: Final = written(text(form="date-time"), Written.ALWAYS)

_STATUS: Final = an_object(
    {
        "conditions": a_list(
            an_object(
                {
                    "type": _ALWAYS_TEXT,
                    "status": _ALWAYS_TEXT,
                    "lastTransitionTime": _TIME,
                    "reason": text(),
                    "message": text(),
                },
                needs=("status", "type"),
            )
        ),
        "derivativePolicies": a_map(
            an_object(
                {
                    "ok": boolean(),
                    "enforcing": boolean(),
                    "error": text(),
                    "lastUpdated": _TIME,
                    "localPolicyRevision": number(),
                    "annotations": a_map(),
                }
            )
        ),
    }
)

POLICY: Final = an_object(
    {
        "apiVersion": text(),
        "kind": text(),
        "metadata": METADATA,
        "spec": _SPEC,
        "specs": a_list(_SPEC),
        "status": _STATUS,
    },
    needs=("metadata",),
)
