"""What of an object is published."""

import json

import pytest

from agent import resources, shaping
from tests.agent import objects

BY_KIND = {resource.kind: resource for resource in resources.OBJECTS}


def wanted(raw, version="v1"):
    return shaping.wanted(BY_KIND[raw["kind"]], version, raw)


def test_a_policy_stays_whole_but_for_bookkeeping():
    """Its own annotations count; the copy that kubectl keeps there does not."""
    raw = objects.a_cnp(
        "shop",
        annotations={
            "app.gitlab.com/alert": "true",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
        },
        managedFields=[{"time": "2026-01-01T00:00:00Z"}],
    )
    found = wanted({**raw, "status": {"conditions": []}}, "v2")
    annotations = {"app.gitlab.com/alert": "true"}
    metadata = {"name": "web", "namespace": "shop", "annotations": annotations}
    assert found.manifest == {**raw, "metadata": metadata}
    assert found.changed_at is not None


def test_items_of_a_list_get_their_type():
    """They come without it, and of whatever version was asked for."""
    raw = objects.a_cidr_group("net")
    item = {key: value for key, value in raw.items() if key != "apiVersion"}
    assert wanted(item, "v2alpha1").manifest["apiVersion"] == "cilium.io/v2alpha1"


def test_the_readiness_and_order_of_endpoints_mean_nothing():
    """A slice that says the same addresses in other words is the same."""
    one = wanted(objects.an_endpoint_slice("shop", addresses=("10.0.0.1", "10.0.0.2")))
    raw = objects.an_endpoint_slice("shop", addresses=("10.0.0.2", "10.0.0.1"))
    raw["endpoints"][0]["conditions"]["ready"] = False
    assert wanted(raw).meaning == one.meaning


def test_services_keep_what_selects_pods():
    """Annotations and ports stay where they are."""
    found = wanted(objects.a_service("shop", selector={"app": "web"})).manifest
    assert found["spec"] == {"selector": {"app": "web"}}
    assert "secret" not in json.dumps(found)


@pytest.mark.parametrize("raw", [{}, {"metadata": []}, {"metadata": {"name": "a/b"}}])
def test_what_has_no_name_is_no_object(raw):
    """It is told and passed over."""
    with pytest.raises(shaping.Shapeless):
        shaping.identity(resources.NAMESPACE, raw)
