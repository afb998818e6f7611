"""The `rules` of an entry of toPorts, with the checks that Cilium makes on them."""

from typing import Final

from policies import dnsnames, requests
from policies.decoding import Field
from policies.dnsnames import DnsPattern
from policies.flows import Direction
from policies.requests import HeaderMatch, HttpRule, L7Rules, Mismatch

_KAFKA_ROLES: Final = {"", "produce", "consume"}
_MAX_TOPIC: Final = 255


def are_given(rules: Field) -> bool:
    """Whether there are L7 rules of some kind, even if the list is empty."""
    return bool(rules) and any(rules[kind] for kind in ("http", "kafka", "dns", "l7"))


def l7_rules(rules: Field, path: str, direction: Direction, *, of_nodes: bool) -> L7Rules | None:
    """The L7 rules of one entry of toPorts, or None. Raises PolicyRejected."""
    if not rules:
        return None
    rules.object()
    http = [_http(entry) for entry in rules["http"].entries()]
    dns = [dns_pattern(entry) for entry in rules["dns"].entries()]
    for entry in rules["kafka"].entries():
        _check_kafka(entry)
    generic = rules["l7proto"].text()
    for entry in rules["l7"].entries():
        entry.strings()
    if rules["l7"] and not generic:
        raise rules["l7"].reject("'l7' may only be given with 'l7proto'")
    _check_kinds(rules, direction, of_nodes=of_nodes)
    if http:
        return L7Rules(path=path, http=tuple(http))
    if dns:
        return L7Rules(path=path, dns=tuple(dns))
    if rules["kafka"].count():
        return L7Rules(path=path, unevaluated="kafka")
    return L7Rules(path=path, unevaluated="l7proto") if generic else None


def _check_kinds(rules: Field, direction: Direction, *, of_nodes: bool) -> None:
    kinds = sum(bool(rules[kind]) for kind in ("http", "kafka", "dns"))
    if kinds + bool(rules["l7proto"].text()) > 1:
        raise rules.reject("only one kind of L7 rules is allowed")
    if rules["dns"].count() and direction is Direction.INGRESS:
        raise rules["dns"].reject("DNS rules are not supported on ingress")
    if of_nodes and are_given(rules):
        if direction is Direction.INGRESS:
            raise rules.reject("L7 rules are not supported on host ingress")
        if rules["http"].count() or rules["kafka"].count():
            raise rules.reject("HTTP and Kafka rules are not supported on host egress")


def dns_pattern(entry: Field) -> DnsPattern:
    """A `matchName` or `matchPattern`, of a DNS rule or of toFQDNs. Raises PolicyRejected."""
    name, pattern = entry["matchName"].text(), entry["matchPattern"].text()
    if name and pattern:
        raise entry.reject("only one of matchName and matchPattern is allowed")
    if name and not dnsnames.is_name(name):
        raise entry["matchName"].reject(f"{name!r} has characters that DNS names do not have")
    if pattern and not dnsnames.is_pattern(pattern):
        raise entry["matchPattern"].reject(
            f"{pattern!r} has characters other than those of DNS names and *"
        )
    return DnsPattern(dnsnames.canonical(name or pattern))


def _http(entry: Field) -> HttpRule:
    entry.object()
    for key in ("path", "method"):
        if (expression := entry[key].text()) and not requests.compiles(expression):
            raise entry[key].reject(f"{expression!r} is not a regular expression")
    headers = []
    for header in entry["headers"].entries():
        name, _, value = header.text().partition(" ")
        headers.append(HeaderMatch(name=name.removesuffix(":"), value=value.strip() or None))
    for match in entry["headerMatches"].entries():
        if not match["name"].text():
            raise match["name"].reject("a header name must be given")
        if match["mismatch"].text() not in tuple(Mismatch):
            # A mismatch action keeps the request and changes or logs the header: no condition.
            secret = bool(match["secret"])
            value = match["value"].text()
            headers.append(
                HeaderMatch(name=match["name"].text(), value=None if secret else value or None)
            )
    return HttpRule(
        method=entry["method"].text(),
        path=entry["path"].text(),
        host=entry["host"].text(),
        headers=tuple(headers),
    )


def _check_kafka(entry: Field) -> None:
    role = entry["role"].text().lower()
    if role not in _KAFKA_ROLES:
        raise entry["role"].reject("must be produce or consume")
    if role and entry["apiKey"].text():
        raise entry.reject("only one of role and apiKey is allowed")
    if len(entry["topic"].text()) > _MAX_TOPIC:
        raise entry["topic"].reject(f"must be at most {_MAX_TOPIC} characters")
