"""Selectors that can select nothing, or not what their writer thinks."""

from collections.abc import Iterator, Sequence
from typing import Final

from policies import decoding
from policies import selecting as reading
from policies.labels import K8S, NAMESPACE_KEY, NAMESPACE_LABELS_PREFIX, RESERVED
from policies.linting import findings
from policies.linting.findings import Finding, Path, Rule, Severity
from policies.linting.subjects import Part, Subject
from policies.model import EndpointPeer
from policies.selectors import Operator, Requirement, Selector

IMPOSSIBLE: Final = Rule(
    id="impossible-selector",
    severity=Severity.WARNING,
    what="A selector has conditions that nothing meets, so it selects nothing.",
    why=(
        "All conditions must hold at once, and no label has two values. Nothing has the label"
        " `reserved:all`, which is an entity and no label."
    ),
    mend=(
        "For one value or another, give both to one expression with the operator `In`; for"
        " everybody, write `fromEntities: [all]`."
    ),
    wrong="""\
        endpointSelector:
          matchLabels:
            app: web
          matchExpressions:
            - {key: app, operator: NotIn, values: [web]}
        """,
    right="""\
        endpointSelector:
          matchExpressions:
            - {key: app, operator: In, values: [web, api]}
        """,
)
OVERWRITTEN: Final = Rule(
    id="foreign-namespace-in-subject",
    severity=Severity.WARNING,
    what="A namespaced policy's `endpointSelector` names another namespace.",
    why=(
        "Such a policy is about its own namespace only. Cilium overwrites"
        " `k8s:io.kubernetes.pod.namespace` among the `matchLabels` with it, so other pods are"
        " selected than are written down; without `k8s:`, or among the `matchExpressions`, it"
        " selects nothing."
    ),
    mend="Put the policy into that namespace, or make it clusterwide.",
    wrong="""\
        metadata: {name: web, namespace: shop}
        spec:
          endpointSelector:
            matchLabels:
              k8s:io.kubernetes.pod.namespace: payments
        """,
    right="""\
        metadata: {name: web, namespace: payments}
        spec:
          endpointSelector: {}
        """,
)
UNKNOWN: Final = Rule(
    id="unknown-namespace",
    severity=Severity.WARNING,
    what="A selector, or the policy itself, names a namespace that does not exist.",
    why=(
        "It selects nothing. This is looked at only where manifests of kind Namespace are among"
        " the given files; those are then taken to be all, besides those that every cluster has."
    ),
    mend="Correct the name or the label, or add the Namespace.",
    wrong="""\
        ingress:
          - fromEndpoints:
              - matchLabels:
                  k8s:io.kubernetes.pod.namespace: paymets
        """,
    right="""\
        ingress:
          - fromEndpoints:
              - matchLabels:
                  k8s:io.kubernetes.pod.namespace: payments
        """,
)
ON_PODS: Final = Rule(
    id="namespace-label-on-pods",
    severity=Severity.WARNING,
    what="A selector of pods asks for `kubernetes.io/metadata.name`, which namespaces have.",
    why="Pods do not carry that label, so nothing is selected.",
    mend=(
        "In a Cilium policy write `k8s:io.kubernetes.pod.namespace`, in a NetworkPolicy a"
        " `namespaceSelector`."
    ),
    wrong="""\
        ingress:
          - fromEndpoints:
              - matchLabels:
                  kubernetes.io/metadata.name: payments
        """,
    right="""\
        ingress:
          - fromEndpoints:
              - matchLabels:
                  k8s:io.kubernetes.pod.namespace: payments
        """,
)

WIDENED: Final = Rule(
    id="selector-of-everybody",
    severity=Severity.WARNING,
    what="A selector of a NetworkPolicy has a key that is too long for Cilium.",
    why=(
        "Cilium puts something before each key and checks the whole: more than 59 characters in a"
        " `podSelector`, or 28 in a `namespaceSelector`, are too many where the key has no slash."
        " It then goes on without the selector: as a peer it means everybody, as the policy's own"
        " every pod of the namespace."
    ),
    mend="Select by a shorter label, or by one with a domain before a slash.",
    wrong="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          ingress:
            - from:
                - namespaceSelector:
                    matchLabels: {my-company-network-zone-restricted: "yes"}
        """,
    right="""\
        kind: NetworkPolicy
        spec:
          podSelector: {}
          ingress:
            - from:
                - namespaceSelector:
                    matchLabels: {example.com/zone: restricted}
        """,
)

_NAME_LABEL: Final = "kubernetes.io/metadata.name"
_SELECTORS: Final = ("endpointSelector", "nodeSelector", "podSelector")


def check(subject: Subject) -> Iterator[Finding]:
    """Each selector of the policy."""
    for part in subject.parts:
        path = (*part.path, next((n for n in _SELECTORS if part.raw.get(n) is not None), ""))
        if not path[-1]:
            continue
        chosen = part.parsed.subject
        yield from _impossible(path, chosen, "the policy selects nothing")
        if not part.parsed.selects_nodes:
            yield from _on_pods(path, chosen)
            yield from _overwritten(subject, part, path)
            yield from _unknown(subject, path, chosen)
    for _, entry in subject.entries:
        for path, peer in entry.peers():
            if isinstance(peer, EndpointPeer):
                yield from _impossible(path, peer.selector, "it selects nobody")
                yield from _on_pods(path, peer.selector)
                yield from _unknown(subject, path, peer.selector)
    if subject.is_kubernetes:
        yield from _widened(subject)
    yield from _own_namespace(subject)


def _widened(subject: Subject) -> Iterator[Finding]:
    places = [(*part.path, "podSelector") for part in subject.parts]
    for _, entry in subject.entries:
        for path, _ in entry.peers():
            places += [(*path, name) for name in ("podSelector", "namespaceSelector")]
    for place in places:
        read = reading.namespaces if place[-1] == "namespaceSelector" else reading.kubernetes
        try:
            read(decoding.Field("", findings.at(subject.manifest, place)))
        except reading.InvalidSelector as error:
            outcome = "every pod of the namespace" if len(place) == 2 else "everybody"
            message = f"Cilium does not take this selector, and means {outcome}: {error.message}"
            yield Finding(rule=WIDENED, path=place, message=message)


def contradiction(requirements: Sequence[Requirement]) -> str:
    """Why no labels meet all of these, or the empty string."""
    by_key: dict[tuple[str, str], list[Requirement]] = {}
    for requirement in requirements:
        by_key.setdefault((requirement.source, requirement.key), []).append(requirement)
    for (_, key), found in by_key.items():
        if len(found) > 1 and (why := _contradiction_about(key, found)):
            return why
    return ""


def _contradiction_about(key: str, found: Sequence[Requirement]) -> str:
    operators = {requirement.operator for requirement in found}
    if Operator.DOES_NOT_EXIST in operators and operators & {Operator.IN, Operator.EXISTS}:
        return f"{key} must be there and must not"
    wanted = [requirement.values for requirement in found if requirement.operator is Operator.IN]
    refused = [r.values for r in found if r.operator is Operator.NOT_IN]
    if wanted and not frozenset.intersection(*wanted).difference(*refused):
        return f"no value of {key} meets all its conditions"
    return ""


def _impossible(path: Path, selector: Selector, outcome: str) -> Iterator[Finding]:
    why = ""
    if any(_is_of_all(requirement) for requirement in selector.requirements):
        why = "nothing has the label reserved:all"
    elif len(selector.requirements) > 1:
        why = contradiction(selector.requirements)
    if why:
        yield Finding(rule=IMPOSSIBLE, path=path, message=f"{why}: {outcome}")


def _is_of_all(requirement: Requirement) -> bool:
    is_named = requirement.source == RESERVED and requirement.key == "all"
    return is_named and not requirement.is_negative


def _on_pods(path: Path, selector: Selector) -> Iterator[Finding]:
    for requirement in selector.requirements:
        if requirement.key == _NAME_LABEL and requirement.operator is Operator.IN:
            values = ", ".join(sorted(requirement.values))
            message = f"pods have no label {_NAME_LABEL}: nothing is selected"
            if path[-1] == "podSelector" or "from" in path or "to" in path:
                hint = "use a namespaceSelector"
            else:
                hint = f"write k8s:{NAMESPACE_KEY}: {values}"
            yield Finding(rule=ON_PODS, path=path, message=message, hint=hint)


def _overwritten(subject: Subject, part: Part, path: Path) -> Iterator[Finding]:
    own = subject.namespace
    if not own or subject.is_kubernetes or not subject.policy.ref.namespace:
        return
    selector = part.raw[str(path[-1])]
    for name in ("matchLabels", "matchExpressions"):
        written = reading.cilium(decoding.Field("", {name: selector.get(name)}))
        for requirement in written.requirements:
            if requirement.key != NAMESPACE_KEY or _takes(requirement, own):
                continue
            replaced = requirement.source == K8S and name == "matchLabels"
            outcome = "Cilium overwrites that with its own" if replaced else "it selects nothing"
            message = f"the policy is about namespace {own} and asks for {requirement}: {outcome}"
            yield Finding(rule=OVERWRITTEN, path=path, message=message)


def _takes(requirement: Requirement, namespace: str) -> bool:
    match requirement.operator:
        case Operator.IN:
            return namespace in requirement.values
        case Operator.NOT_IN:
            return namespace not in requirement.values
        case Operator.EXISTS:
            return True
        case _:
            return False


def _unknown(subject: Subject, path: Path, selector: Selector) -> Iterator[Finding]:
    known = subject.surroundings.namespaces
    if not known:
        return
    about_labels = []
    for requirement in selector.requirements:
        if requirement.key == NAMESPACE_KEY and requirement.operator is Operator.IN:
            for name in sorted(requirement.values - known.keys()):
                yield Finding(rule=UNKNOWN, path=path, message=f"there is no namespace {name!r}")
        elif requirement.key.startswith(NAMESPACE_LABELS_PREFIX) and requirement.source != "any":
            about_labels.append(requirement)
    wanted = Selector(tuple(about_labels))
    if about_labels and not any(wanted.matches(labels) for labels in known.values()):
        text = str(wanted).replace(f"{NAMESPACE_LABELS_PREFIX}.", "")
        yield Finding(rule=UNKNOWN, path=path, message=f"no namespace has the labels {text}")


def _own_namespace(subject: Subject) -> Iterator[Finding]:
    known, own = subject.surroundings.namespaces, subject.namespace
    if known and own and subject.policy.ref.namespace and own not in known:
        message = f"there is no namespace {own!r}"
        yield Finding(rule=UNKNOWN, path=("metadata", "namespace"), message=message)
