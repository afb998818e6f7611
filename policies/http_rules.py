"""The `rules` of an entry of toPorts, with the checks that Cilium makes on them."""

import re
from typing import Final

from policies import dnsnames, requests, unread
from policies.decoding import Field
from policies.dnsnames import DnsPattern
from policies.flows import Direction
from policies.requests import HeaderMatch, HttpRule, KafkaRule, L7Rules, Mismatch

_KAFKA_KEYS: Final = frozenset(
    {
        "produce",
        "fetch",
        "offsets",
        "metadata",
        "leaderandisr",
        "stopreplica",
        "updatemetadata",
        "controlledshutdown",
        "offsetcommit",
        "offsetfetch",
        "findcoordinator",
        "joingroup",
        "heartbeat",
        "leavegroup",
        "syncgroup",
        "describegroups",
        "listgroups",
        "saslhandshake",
        "apiversions",
        "createtopics",
        "deletetopics",
        "deleterecords",
        "initproducerid",
        "offsetforleaderepoch",
        "addpartitionstotxn",
        "addoffsetstotxn",
        "endtxn",
        "writetxnmarkers",
        "txnoffsetcommit",
        "describeacls",
        "createacls",
        "deleteacls",
        "describeconfigs",
        "alterconfigs",
    }
)
"""Kafka's kinds of requests, as rules and flows name them."""
_KAFKA_ROLES: Final = {
    "produce": ("produce", "metadata", "apiversions"),
    "consume": (
        "fetch",
        "offsets",
        "metadata",
        "offsetcommit",
        "offsetfetch",
        "findcoordinator",
        "joingroup",
        "heartbeat",
        "leavegroup",
        "syncgroup",
        "apiversions",
    ),
}
_MAX_TOPIC: Final = 255
_TOPIC: Final = re.compile(r"[a-zA-Z0-9\\._-]+\Z")
_VERSION: Final = re.compile(r"[+-]?[0-9]+\Z")
_MAX_VERSION: Final = 2**15 - 1


def are_given(rules: Field) -> bool:
    """Whether there are L7 rules of some kind: an empty list, or `l7proto` alone, is none."""
    return bool(rules) and any(rules[kind].count() for kind in ("http", "kafka", "dns", "l7"))


def l7_rules(rules: Field, path: str, direction: Direction, *, of_nodes: bool) -> L7Rules | None:
    """The L7 rules of one entry of toPorts, or None. Raises PolicyRejected."""
    if not rules:
        return None
    rules.object()
    http = [_http(entry) for entry in rules["http"].entries()]
    dns = [pattern for entry in rules["dns"].entries() for pattern in _dns_rule(entry)]
    kafka = [_kafka(entry) for entry in rules["kafka"].entries()]
    generic = rules["l7proto"].text()
    for entry in rules["l7"].entries():
        if "" in entry.strings():
            raise entry.reject("an empty key is not allowed")
    if are_given(rules):
        if rules["l7"] and not generic:
            raise rules["l7"].reject("'l7' may only be given with 'l7proto'")
        _check_kinds(rules, direction, of_nodes=of_nodes)
    if http:
        return L7Rules(path=path, http=tuple(http))
    if rules["dns"].count():
        return L7Rules(path=path, dns=tuple(dns))
    if kafka:
        return L7Rules(path=path, kafka=tuple(kafka))
    return L7Rules(path=path, unevaluated="l7proto") if generic else None


def _check_kinds(rules: Field, direction: Direction, *, of_nodes: bool) -> None:
    kinds = sum(bool(rules[kind]) for kind in ("http", "kafka", "dns"))
    if kinds + bool(rules["l7proto"].text()) > 1:
        raise rules.reject("only one kind of L7 rules is allowed")
    if rules["dns"].count() and direction is Direction.INGRESS:
        raise rules["dns"].reject("DNS rules are not supported on ingress")
    if of_nodes:
        if direction is Direction.INGRESS:
            raise rules.reject("L7 rules are not supported on host ingress")
        if rules["http"].count() or rules["kafka"].count():
            raise rules.reject("HTTP and Kafka rules are not supported on host egress")


def dns_pattern(entry: Field) -> DnsPattern:
    """The `matchName` or `matchPattern` of an entry of toFQDNs. Raises PolicyRejected."""
    name, pattern = _dns_texts(entry)
    if name and pattern:
        raise entry.reject("only one of matchName and matchPattern is allowed")
    return DnsPattern(dnsnames.canonical(name or pattern))


def _dns_rule(entry: Field) -> list[DnsPattern]:
    """The patterns of a DNS rule: a name and a pattern beside it are two."""
    return [DnsPattern(dnsnames.canonical(text)) for text in _dns_texts(entry) if text]


def _dns_texts(entry: Field) -> tuple[str, str]:
    entry.object()
    name, pattern = entry["matchName"].text(), entry["matchPattern"].text()
    if name and not dnsnames.is_name(name):
        raise entry["matchName"].reject(f"{name!r} has characters that DNS names do not have")
    if pattern and not dnsnames.is_pattern(pattern):
        raise entry["matchPattern"].reject(
            f"{pattern!r} is too long, or has characters other than those of DNS names and *"
        )
    return name, pattern


def _http(entry: Field) -> HttpRule:
    entry.object()
    for key in ("path", "method"):
        if (expression := entry[key].text()) and not requests.is_expression(expression):
            raise entry[key].reject(f"{expression!r} is not a regular expression")
    headers = [_header(header.text()) for header in entry["headers"].entries()]
    for match in entry["headerMatches"].entries():
        found = _header_match(match)
        headers += [] if found is None else [found]
    return HttpRule(
        method=entry["method"].text(),
        path=entry["path"].text(),
        host=entry["host"].text(),
        headers=tuple(headers),
    )


def _header(text: str) -> HeaderMatch:
    """An entry of `headers`: a name alone, or `Name: value`."""
    name, space, value = text.partition(" ")
    if not space:
        return HeaderMatch(name=name)
    return HeaderMatch(name=name.rstrip(":"), value=value or None)


def _header_match(entry: Field) -> HeaderMatch | None:
    """An entry of `headerMatches`; None where a mismatch keeps the request, so no condition."""
    name, action, secret = entry["name"].text(), entry["mismatch"].text(), entry["secret"]
    unread.secret(secret)
    if not name:
        raise entry["name"].reject("a header name must be given")
    if action and action not in tuple(Mismatch):
        raise entry["mismatch"].reject(f"must be one of {', '.join(Mismatch)}")
    if secret and not secret["name"].text():
        raise secret["name"].reject("the name of a secret must be given")
    value = entry["value"].text() or None
    if action:
        return None
    return HeaderMatch(name=name, value=None if secret else value, secret=bool(secret))


def _kafka(entry: Field) -> KafkaRule:
    role, key = entry["role"].text(), entry["apiKey"].text()
    version, topic = entry["apiVersion"].text(), entry["topic"].text()
    if role and key:
        raise entry.reject("only one of role and apiKey is allowed")
    if key and key.lower() not in _KAFKA_KEYS:
        raise entry["apiKey"].reject(f"{key!r} is no kind of request of Kafka")
    if role and role.lower() not in _KAFKA_ROLES:
        raise entry["role"].reject("must be produce or consume")
    if version and not (_VERSION.match(version) and 0 <= int(version) <= _MAX_VERSION):
        raise entry["apiVersion"].reject(f"{version!r} is not a version")
    if len(topic) > _MAX_TOPIC:
        raise entry["topic"].reject(f"must be at most {_MAX_TOPIC} characters")
    if topic and _TOPIC.match(topic) is None:
        raise entry["topic"].reject(f"{topic!r} has characters that topics do not have")
    return KafkaRule(
        keys=_KAFKA_ROLES[role.lower()] if role else (key.lower(),) if key else (),
        version=int(version) if version else None,
        topic=topic,
        client=entry["clientID"].text(),
        called=role or key,
    )
