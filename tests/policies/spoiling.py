"""Spoilt policies: some value, field or type changed, which may or may not matter."""

import copy
import json
import re
from typing import Any

from tests.policies.invention import Inventor
from tests.policies.worlds import NAMESPACES, Json


class Spoiler(Inventor):
    """Invents policies, richer ones too, and spoils them."""

    def spoilt(self) -> Json:
        """A policy with some value, field or type changed, which may or may not matter."""
        made = self.rich() if self._maybe(0.5) else self.policy()
        made["metadata"]["name"] = "p"
        for _ in range(self._count(1, 2)):
            self._spoil(made)
        return made

    def rich(self) -> Json:
        """A policy with fields that verdicts of L3 and L4 do not depend on."""
        made = self.policy()
        while made["kind"] == "NetworkPolicy":
            made = self.policy()
        for spec in [made.get("spec"), *made.get("specs", ())]:
            if spec is None:
                continue
            if self._maybe(0.3):
                spec["description"] = self._pick("text", "", "x")
            if self._maybe(0.3):
                spec["labels"] = [{"key": "a", "source": "k8s", "value": "b"}]
            if self._maybe(0.3):
                spec["log"] = {"value": "some words"}
            for section in ("ingress", "egress"):
                for rule in spec.get(section, ()):
                    self._enrich(rule, section)
        return made

    def _enrich(self, rule: Json, section: str) -> None:
        if self._maybe(0.2):
            rule["authentication"] = {"mode": self._pick("required", "disabled")}
        if "icmps" in rule or not self._maybe(0.6):
            return
        entry: Json = {"ports": [{"port": self._pick("80", "8080", "http"), "protocol": "TCP"}]}
        rule["toPorts"] = [entry]
        secret = {"name": "s", "namespace": "n"}
        for name, value in (
            ("rules", self._l7(section)),
            ("serverNames", ["example.com", "*.example.org"]),
            ("terminatingTLS", {"secret": secret, "certificate": "c", "privateKey": "p"}),
            ("originatingTLS", {"secret": secret, "trustedCA": "c"}),
            (
                "listener",
                {
                    "envoyConfig": {"kind": "CiliumEnvoyConfig", "name": "e"},
                    "name": "l",
                    "priority": 5,
                },
            ),
        ):
            if self._maybe(0.4):
                entry[name] = value
        if section == "egress" and self._maybe(0.2):
            for key in [key for key in rule if key.startswith("to") and key != "toPorts"]:
                del rule[key]
            rule["toServices"] = [
                self._pick(
                    {"k8sService": {"serviceName": "s", "namespace": "n"}},
                    {"k8sServiceSelector": {"selector": self._selector(), "namespace": "n"}},
                )
            ]
        elif self._maybe(0.1):
            prefix = "to" if section == "egress" else "from"
            for key in [key for key in rule if key.startswith(prefix) and key != "toPorts"]:
                del rule[key]
            rule[f"{prefix}Groups"] = [
                {"aws": {"region": "r", "labels": {"a": ""}, "securityGroupsIds": ["i"]}}
            ]

    def _l7(self, section: str) -> Json:
        secret = {"name": "s", "namespace": "n"}
        rules = [
            {"http": [{"method": "GET", "path": "/a.*", "host": "h", "headers": ["X-A: b"]}]},
            {"http": [{"headerMatches": [{"name": "X", "value": "v", "mismatch": "LOG"}]}]},
            {"http": [{"headerMatches": [{"name": "X", "secret": secret}]}, {}]},
            {"http": []},
            {"kafka": [{"role": "produce", "topic": "t", "clientID": "c", "apiVersion": "1"}]},
            {"kafka": [{"apiKey": "fetch"}]},
            {"l7proto": "x", "l7": [{"a": "b"}]},
        ]
        if section == "egress":
            rules.append({"dns": [{"matchName": "example.com"}, {"matchPattern": "*.example.org"}]})
        return self.chance.choice(rules)

    def _spoil(self, root: Json) -> None:
        """Change one place."""
        places = list(_places(root, ("apiVersion", "kind")))
        holder, key = self.chance.choice(places)
        value = holder[key]
        how = self.chance.random()
        if isinstance(holder, dict) and how < 0.12:
            del holder[key]
        elif isinstance(holder, dict) and how < 0.27:
            holder[self.chance.choice(_renamed(str(key)))] = holder.pop(key)
        elif isinstance(holder, dict) and how < 0.37:
            donor = self.chance.choice([each for each, _ in places if isinstance(each, dict)])
            if donor:
                name = self.chance.choice(sorted(map(str, donor)))
                holder.setdefault(name, copy.deepcopy(donor[name]))
        elif isinstance(value, str) and how < 0.8:
            holder[key] = self.chance.choice(_texts(value))
        elif isinstance(value, list) and how < 0.55:
            holder[key] = self._pick([], value * 2, value * 41, value[:1], [*value, None])
        elif isinstance(value, dict) and how < 0.55:
            value[self._pick(*_FIELDS)] = copy.deepcopy(self.chance.choice(_VALUES))
        else:
            holder[key] = copy.deepcopy(self.chance.choice(_VALUES))


class Spoiling(Spoiler):
    """Invents scenarios of spoilt policies, but for what the engine as a program does not know.

    That is whom groups of a cloud provider and services mean, and what is where no namespace is.
    Left out, too, are the faults of the engine that are not copied (decision 0011).
    """

    def scenario(self, name: str, *, policies: int = 4, queries: int = 24) -> Json:
        """Flows to try, and policies of which some value, field or type is changed."""
        made = super().scenario(name, policies=policies, queries=queries)
        made["policies"] = [self._decidable() for _ in made["policies"]]
        for number, policy in enumerate(made["policies"]):
            policy["metadata"]["name"] = f"p{number}"
        return made

    def _decidable(self) -> Json:
        while True:
            made = self.spoilt()
            metadata, text = made.get("metadata"), json.dumps(made)
            is_known = (
                re.search(r'(Groups|FQDNs|toServices)": \[|"type": (-|"?0|"EchoReply)', text)
                is None
            )
            places = (*NAMESPACES, None) if made["kind"] != "CiliumNetworkPolicy" else NAMESPACES
            if is_known and isinstance(metadata, dict) and metadata.get("namespace") in places:
                return made


_FIELDS = (
    *(
        "foo",
        "toPorts",
        "fromEndpoints",
        "toFQDNs",
        "rules",
        "ports",
        "port",
        "matchLabels",
        "cidr",
    ),
    *("cidrGroupRef", "cidrGroupSelector", "matchName", "matchPattern", "endPort", "protocol"),
    *("l7proto", "l7", "dns", "http", "kafka", "description", "nodeSelector", "endpointSelector"),
    *("icmps", "fromNodes", "toNodes", "fromGroups", "labels", "log"),
    *("enableDefaultDeny", "authentication", "listener", "serverNames", "values", "except"),
    *("fromEntities", "toEntities", "toServices", "fromCIDRSet", "toCIDRSet", "toCIDR", "family"),
)
_VALUES: tuple[Json, ...] = (
    *(
        None,
        "",
        0,
        1,
        -1,
        256,
        65536,
        1.5,
        True,
        False,
        "x",
        "80",
        [],
        {},
        [None],
        [""],
        ["x"],
        [{}],
    ),
    *(
        {"a": "b"},
        {"": ""},
        {"foo": {}},
        {"foo": []},
        [{"foo": 1}],
        "a" * 64,
        "a" * 256,
        "é",
        "a b",
    ),
    *([{"matchLabels": {"reserved:init": ""}}], {"matchLabels": {"reserved:init": ""}}),
    *({"matchExpressions": [{"key": "reserved:init", "operator": "Exists"}]}, 2**31, 2**63),
    *({"matchExpressions": [{"key": "a", "operator": "In"}]}, {"matchLabels": {"a": "b c"}}),
    *({"matchExpressions": [{"key": "a", "operator": "Exists", "foo": 1}]}, {"matchLabels": None}),
    *({"matchExpressions": []}, {"matchLabels": {"a:b:c": "d"}}, {"matchLabels": {"a/b/c": "d"}}),
)


def _places(value: Json, but: tuple[str, ...] = ()) -> Any:
    pairs = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    for key, inner in pairs:
        if key in but:
            continue
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _renamed(key: str) -> list[str]:
    # Never by case alone: Go's own reader would not mind, the API server drops such a field.
    return [key + "s", key.removesuffix("s"), f"a{key}", key.replace("to", "from")]


def _texts(value: str) -> list[str]:
    return [
        *("", value.lower(), value.upper(), value + "x", f" {value}", f"{value} ", value * 30, "*"),
        *(
            "0",
            "00",
            "080",
            "0x50",
            "0b1",
            "1_0",
            "65535",
            "65536",
            "-1",
            "80-90",
            "a-b",
            "a--b",
            "+8",
        ),
        *("http", "-a", "a-", "1a", "a1", "abcdefghijklmnop", "ABC", "é", "a_b", "٣"),
        *("10.0.0.0/8", "10.0.0.1", "10.0.0.0/08", "10.0.0.0/33", "::/0", "::ffff:10.0.0.0/104"),
        *(
            "10.00.0.0/8",
            "::1",
            "fe80::1%eth0",
            "10.0.0.0/",
            "1.2.3/8",
            "::ffff:1.2.3.4",
            "::1/129",
        ),
        *("fe80::1%eth0/64", "2001:db8::/032", "0.0.0.0/0", "10.0.0.0/-1", "1::2::3/64"),
        *(
            "world-ipv4",
            "Cluster",
            "In",
            "Gt",
            "in",
            "tcp",
            "ICMP",
            "ICMPv6",
            "IGMP",
            "VRRP",
            "any",
        ),
        *("EchoReply", "ExtendedEchoReply", "ExtendedEcho Reply", "255", "8", "ipv4", "IPv6"),
        *(
            "example.com",
            "**.example.com",
            "*",
            "*.",
            ".",
            "a..b",
            "{a}",
            "a.*.b",
            "a" * 256,
            "a b",
        ),
        *(
            "**",
            "x\n",
            "example.com\n",
            "80\n",
            "TCP\n",
            "(",
            "[a",
            "a{1001}",
            "(?=a)",
            "\\1",
            "(?i)a",
        ),
        *(
            "k8s:a",
            "a:b:c",
            ":a",
            "$host",
            "reserved.host",
            "a=b",
            "a/b",
            "/a",
            "a/",
            "A/b",
            "a.b/c",
        ),
        *(
            "a" * 63,
            "a" * 64,
            "produce",
            "Produce",
            "fetch",
            "required",
            "REQUIRED",
            "LOG",
            "1",
            "-",
        ),
    ]
