from policies import parsing
from policies.explanation import Reason
from policies.fingerprint import fingerprint
from policies.flows import Direction
from policies.labels import LabelSet
from policies.naming import Party, PartyKind, party
from tests.policies.builders import HOST, WORLD, a_pod, a_policy, ref

KNOWS = parsing.parse(
    a_policy(
        egress=[
            {"toFQDNs": [{"matchPattern": "*.example.com"}, {"matchName": "api.example.com"}]},
            {"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}]},
        ]
    )
)
OTHER = parsing.parse(a_policy("other", egress=[{"toCIDR": ["198.51.100.0/24"]}]))


def test_a_workload_is_its_namespace_and_app_label():
    """The first of the three usual labels counts, and no other label does."""
    pod = a_pod("web", **{"app.kubernetes.io/name": "shop-web", "k8s-app": "x"})
    assert party(pod).text == "shop/shop-web"
    assert party(a_pod("web", version="1")) == party(a_pod("web", version="2"))
    assert party(a_pod("web")) != party(a_pod("web", namespace="other"))


def test_a_pod_without_an_app_label_is_known_by_its_labels():
    """The same labels are the same party."""
    one, two = a_pod("", tier="a"), a_pod("", tier="b")
    assert party(one).kind is PartyKind.LABELS
    assert party(one) == party(a_pod("", tier="a"))
    assert party(one) != party(two)
    assert party(one).text == "shop/(tier=a)"
    assert party(LabelSet.of(["unspec:x"])).kind is PartyKind.LABELS


def test_entities_have_names():
    """A node that runs the API server is called after that."""
    assert party(HOST).text == "host"
    node = LabelSet.of(["reserved:remote-node", "reserved:kube-apiserver"])
    assert party(node).app == "kube-apiserver"


def test_an_address_is_called_what_the_policy_itself_can_tell():
    """The longest prefix that it names, else the narrowest name, else the world."""
    known = LabelSet.of(["fqdn:*.example.com", "fqdn:api.example.com", "reserved:world"])
    assert party(WORLD, [KNOWS], "10.2.3.4").app == "10.0.0.0/8"
    assert party(WORLD, [KNOWS], "10.1.2.3").app == "10.1.0.0/16"
    assert party(known, [KNOWS], "198.51.100.7").app == "api.example.com"
    assert party(WORLD, [KNOWS], "198.51.100.7").kind is PartyKind.WORLD


def test_what_another_policy_learns_of_an_address_changes_nothing():
    """Neither its names nor its prefixes."""
    later = LabelSet.of(["fqdn:www.other.org", "cidr:198.51.100.0/24", "reserved:world"])
    assert party(later, [KNOWS], "198.51.100.7") == party(WORLD, [KNOWS], "198.51.100.7")
    assert party(later, [OTHER], "198.51.100.7").app == "198.51.100.0/24"


def a_fingerprint(**changes) -> str:
    """A fingerprint of which some parts differ from the usual."""
    parts = {
        "direction": Direction.INGRESS,
        "reason": Reason.NO_RULE_ALLOWED,
        "subject": party(a_pod("web")),
        "peer": party(a_pod("api")),
        "group_by": (),
    }
    cluster = changes.pop("cluster", "demo")
    policy = changes.pop("policy", ref())
    return fingerprint(cluster, policy, **(parts | changes))


def test_a_fingerprint_is_stable():
    """Another value here would start every open alert anew."""
    assert a_fingerprint() == "e1834b9157660d9f3a8e13cc1d308138"


def test_every_part_tells_alerts_apart():
    """And the text for people does not."""
    found = [
        a_fingerprint(),
        a_fingerprint(cluster="other"),
        a_fingerprint(policy=ref("q")),
        a_fingerprint(direction=Direction.EGRESS),
        a_fingerprint(reason=Reason.AUDIT),
        a_fingerprint(subject=party(a_pod("db"))),
        a_fingerprint(peer=party(a_pod("db"))),
    ]
    assert len(set(found)) == len(found)
    renamed = Party(kind=PartyKind.WORKLOAD, namespace="shop", app="api", text="called otherwise")
    assert a_fingerprint(peer=renamed) == a_fingerprint()


def test_grouping_leaves_out_what_it_does_not_name():
    """So one alert can stand for all peers."""
    by_subject = a_fingerprint(group_by=("subject",))
    assert by_subject == a_fingerprint(group_by=("subject",), peer=party(HOST))
    assert by_subject != a_fingerprint(group_by=("subject",), subject=party(HOST))
    assert by_subject != a_fingerprint()
