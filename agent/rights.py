"""What we may do in a cluster, as its API server itself says (SelfSubjectAccessReview)."""

from collections.abc import Iterable
from typing import Any

from kubernetes import client

from agent import apiserver, resources
from agent.credentials import Credentials

SECONDS = 10


def missing(
    credentials: Credentials, wanted: Iterable[resources.Resource]
) -> list[resources.Resource]:
    """Return those of the kinds that may not be both listed and watched.

    Raises Forbidden where even that may not be asked, and UserError.
    """
    with client.ApiClient(credentials.load()) as connection:
        reviews = client.AuthorizationV1Api(connection)
        return [
            resource
            for resource in wanted
            if not all(_may(reviews, resource, verb) for verb in resources.VERBS)
        ]


def _may(reviews: Any, resource: resources.Resource, verb: str) -> bool:
    attributes = {
        "group": resource.group,
        "resource": resource.plural,
        "verb": verb,
        "namespace": resource.namespace,
        "name": resource.name,
    }
    given = {name: value for name, value in attributes.items() if value}
    body = {"spec": {"resourceAttributes": given}}
    try:
        answer = reviews.create_self_subject_access_review(body, _request_timeout=SECONDS)
    except client.ApiException as error:
        said = f"it does not say what is allowed: {error.reason}"
        raise apiserver.Forbidden(said) from None
    return bool(answer.status.allowed)
