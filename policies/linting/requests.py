"""L7 rules that no request can meet, or that mean something else than they seem to."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from policies import requests
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.linting.subjects import Subject
from policies.model import CCNP

COMPILES: Final = Rule(
    id="bad-expression",
    severity=Severity.WARNING,
    what="An HTTP rule has a regular expression that Envoy does not take.",
    why=(
        "Cilium does not check what `host` says, nor how large an expression grows; Envoy does, and"
        " refuses the whole rule set: no request passes."
    ),
    mend=(
        "In a `host`, `*` stands for repetition, not for a part of a name: write"
        " `.*[.]example[.]com`. What is too large has a repetition such as `{1000}` of a large"
        " class: make it `*` or `+`."
    ),
    wrong="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{host: "*.example.com"}]
        """,
    right="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{host: ".*[.]example[.]com"}]
        """,
)
GLOB: Final = Rule(
    id="glob-in-expression",
    severity=Severity.WARNING,
    what="The path of an HTTP rule ends in `/*`, as a glob does; it is a regular expression.",
    why="`/api/*` matches `/api`, `/api/` and `/api//`, and nothing below them.",
    mend="Write `/api/.*`.",
    wrong="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{path: "/api/*"}]
        """,
    right="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{path: "/api/.*"}]
        """,
)
NEVER: Final = Rule(
    id="request-never-matches",
    severity=Severity.WARNING,
    what="No request can have such a path or method.",
    why=(
        "Expressions match in full and by case. Every path begins with `/`, every method is written"
        " in capitals: a rule `get` denies each GET."
    ),
    mend="Begin the path with `/` (or `.*`), and write methods in capitals.",
    wrong="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{method: get, path: "api/.*"}]
        """,
    right="""\
        ingress:
          - toPorts:
              - ports: [{port: "80", protocol: TCP}]
                rules:
                  http: [{method: GET, path: "/api/.*"}]
        """,
)
TLS: Final = Rule(
    id="http-rules-on-tls",
    severity=Severity.WARNING,
    what="HTTP rules stand on port 443, and TLS is not terminated.",
    why="Envoy sees only what is encrypted, finds no request in it, and denies everything.",
    mend=(
        "Give `terminatingTLS` and `originatingTLS`, or limit by `serverNames` or `toFQDNs`"
        " in place of HTTP rules."
    ),
    wrong="""\
        egress:
          - toPorts:
              - ports: [{port: "443", protocol: TCP}]
                rules:
                  http: [{path: "/v1/.*"}]
        """,
    right="""\
        egress:
          - toPorts:
              - ports: [{port: "443", protocol: TCP}]
                serverNames: [api.example.com]
        """,
)
LISTENER: Final = Rule(
    id="listener-of-another-namespace",
    severity=Severity.WARNING,
    what="A clusterwide policy hands traffic to a listener of a `CiliumEnvoyConfig`.",
    why=(
        "Cilium looks for it in the namespace of each pod that the policy selects. At an endpoint"
        " without a namespace, such as a node, it fails: that keeps the policies that it had."
    ),
    mend="Refer to a `CiliumClusterwideEnvoyConfig`, or make it a `CiliumNetworkPolicy`.",
    wrong="""\
        kind: CiliumClusterwideNetworkPolicy
        spec:
          endpointSelector: {}
          egress:
            - toPorts:
                - ports: [{port: "80", protocol: TCP}]
                  listener: {name: web, envoyConfig: {kind: CiliumEnvoyConfig, name: proxy}}
        """,
    right="""\
        kind: CiliumClusterwideNetworkPolicy
        spec:
          endpointSelector: {}
          egress:
            - toPorts:
                - ports: [{port: "80", protocol: TCP}]
                  listener:
                    name: web
                    envoyConfig: {kind: CiliumClusterwideEnvoyConfig, name: proxy}
        """,
)
DEPRECATED: Final = Rule(
    id="deprecated-field",
    severity=Severity.WARNING,
    what="A field is deprecated in Cilium 1.19 and gone in 1.20.",
    why="Kafka rules and those of `l7proto` need proxies that Cilium no longer ships.",
    mend="Allow the port without L7 rules, and let the broker authorize.",
    wrong="""\
        ingress:
          - toPorts:
              - ports: [{port: "9092", protocol: TCP}]
                rules:
                  kafka: [{role: produce, topic: orders}]
        """,
    right="""\
        ingress:
          - toPorts:
              - ports: [{port: "9092", protocol: TCP}]
        """,
)

_WORD: Final = re.compile(r"[A-Za-z]+\Z")
_LITERAL_START: Final = re.compile(r"\^?[A-Za-z0-9_-]")
_TLS_PORT: Final = "443"


def check(subject: Subject) -> Iterator[Finding]:
    """The L7 rules of each entry of toPorts."""
    for _, entry in subject.entries:
        for path, ports in entry.port_lists():
            if subject.policy.ref.kind == CCNP:
                yield from _listener((*path, "listener"), ports.get("listener") or {})
            rules = ports.get("rules")
            if not rules or entry.deny:
                continue
            for name in ("kafka", "l7proto"):
                if rules.get(name):
                    message = f"{name} rules are deprecated, and gone in Cilium 1.20"
                    place = (*path, "rules", name)
                    yield Finding(rule=DEPRECATED, path=place, message=message, at_key=True)
            if rules.get("http"):
                yield from _tls(path, ports)
                for index, rule in enumerate(rules["http"]):
                    yield from _http((*path, "rules", "http", index), rule or {})


def _listener(path: Path, listener: Mapping[str, Any]) -> Iterator[Finding]:
    config = listener.get("envoyConfig") or {}
    if config.get("kind") == "CiliumEnvoyConfig":
        message = "each pod's own namespace has to have this CiliumEnvoyConfig"
        place = (*path, "envoyConfig", "kind")
        yield Finding(
            rule=LISTENER, path=place, message=message, hint="use a CiliumClusterwideEnvoyConfig"
        )


def _tls(path: Path, ports: Mapping[str, Any]) -> Iterator[Finding]:
    if ports.get("terminatingTLS"):
        return
    for index, port in enumerate(ports.get("ports") or ()):
        if port.get("port") == _TLS_PORT:
            yield Finding(
                rule=TLS,
                path=(*path, "ports", index),
                message="HTTP rules on port 443 see only what is encrypted, and deny it",
            )


def _http(path: Path, rule: Mapping[str, Any]) -> Iterator[Finding]:
    written, method, host = (rule.get(key) or "" for key in ("path", "method", "host"))
    for key, expression in (("host", host), ("path", written), ("method", method)):
        if expression and not requests.compiles(expression):
            fault = "no regular expression"
            if requests.is_expression(expression):
                fault = "too large a regular expression"
            message = f"{expression!r} is {fault}: Envoy refuses all these rules"
            hint = f"write {_unglobbed(expression)}" if expression.startswith("*.") else ""
            yield Finding(rule=COMPILES, path=(*path, key), message=message, hint=hint)
    place = (*path, "path")
    if written.endswith("/*"):
        message = f"{written!r} matches {written[:-2] or '/'} and slashes after it, nothing else"
        hint = f"write {written[:-1]}.*"
        yield Finding(rule=GLOB, path=place, message=message, hint=hint)
    elif _LITERAL_START.match(written) and _cannot_begin_with_slash(written):
        message = f"no path matches {written!r}: each begins with /"
        hint = f"write /{written}" if not written.startswith("^") else ""
        yield Finding(rule=NEVER, path=place, message=message, hint=hint)
    if _WORD.match(method) and method != method.upper():
        message = f"no method is {method!r}: they are written in capitals"
        hint = f"write {method.upper()}"
        yield Finding(rule=NEVER, path=(*path, "method"), message=message, hint=hint)


def _cannot_begin_with_slash(expression: str) -> bool:
    """Whether the first letter must stand there: no alternative, nothing that makes it optional."""
    first = expression.removeprefix("^")
    return "|" not in expression and first[1:2] not in ("?", "*", "{")


def _unglobbed(host: str) -> str:
    return ".*" + host.removeprefix("*").replace(".", "[.]")
