"""The AsyncAPI 3 document of the topics, generated from their definitions.

`python -m schemas.asyncapi` writes schemas/asyncapi.json. It describes what others may rely on;
internal topics are in it so that nobody wonders what they are, and are marked as such.
"""

from pathlib import Path
from typing import Any

from schemas import jsonschemas, topics

PATH = Path(__file__).parent / "asyncapi.json"
VERSION = "1.0.0"
"""Of the interface, not of Picket. Grows with additions; what would break is a new message type."""

_PROTOBUF = "application/vnd.google.protobuf;version=3"
_JSON = "application/schema+json;version=draft-2020-12"

_MESSAGES: dict[str, dict[str, str]] = {
    topics.FLOWS.name: {"FlowBatch": "flows, many to a record"},
    topics.FLOWS_RETRY.name: {"FlowBatch": "flows to be tried again"},
    topics.FLOWS_RETRY_LATE.name: {"FlowBatch": "flows to be tried for the last time"},
    topics.COLLECTOR.name: {"Checkpoint": "from where a collector goes on"},
    topics.POLICIES.name: {
        "picket.policy-object": "a version of an object, and from when it holds",
        "picket.policy-deleted": "an object ceased to hold; a tombstone follows",
        "picket.policies-synced": "everything before this was the whole cluster",
    },
    topics.MATCHES.name: {
        "picket.match.v1": "stopped flows of one fingerprint within one minute",
        "picket.progress.v1": "how far a cluster's flows have been matched, and what is missing",
    },
    topics.ALERTS.name: {"picket.alert.v1": "the newest state of an alert"},
    topics.DEADLETTER.name: {"picket.dead-letter": "what could not be read"},
}
_TOMBSTONES = {
    topics.POLICIES.name: "the object is gone",
    topics.ALERTS.name: "the alert was purged",
}
_WRITERS = {
    topics.FLOWS.name: "collector",
    topics.FLOWS_RETRY.name: "enricher",
    topics.FLOWS_RETRY_LATE.name: "enricher",
    topics.COLLECTOR.name: "collector",
    topics.POLICIES.name: "agent",
    topics.MATCHES.name: "enricher",
    topics.ALERTS.name: "alert-api",
    topics.DEADLETTER.name: "every stage",
}


def document() -> dict[str, Any]:
    """Return the whole document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Picket's topics",
            "version": VERSION,
            "description": (
                "Read with isolation level read_committed: what a transaction took back must not "
                "be seen. Counts of matches add up; an event's `id` is the same whenever it is "
                "written again, so drop what was seen. A record without a value is a tombstone."
            ),
        },
        "defaultContentType": "application/json",
        "channels": {topic.name: _channel(topic) for topic in topics.ALL},
        "operations": {
            f"read-{topic.name}": {
                "action": "send",
                "channel": {"$ref": f"#/channels/{topic.name}"},
                "summary": f"Written by the {_WRITERS[topic.name]}, for anyone to read"
                if _WRITERS[topic.name] != "every stage"
                else "Written by every stage, for a person to read",
            }
            for topic in topics.ALL
            if not topic.internal
        },
        "components": {"messages": _components()},
    }


def _channel(topic: topics.Topic) -> dict[str, Any]:
    described = f"Key: {topic.key}. Written by: {_WRITERS[topic.name]}."
    if topic.name in _TOMBSTONES:
        described += f" A tombstone says: {_TOMBSTONES[topic.name]}."
    if topic.internal:
        described += " Internal: read by Picket alone, and changed without notice."
    return {
        "address": topic.name,
        "summary": topic.summary,
        "description": described,
        "messages": {
            name: {"$ref": f"#/components/messages/{name}"} for name in _MESSAGES[topic.name]
        },
        "bindings": {"kafka": {"topic": topic.name, **_kafka(topic), "bindingVersion": "0.5.0"}},
    }


def _kafka(topic: topics.Topic) -> dict[str, Any]:
    configuration: dict[str, Any] = {
        "cleanup.policy": [topic.cleanup.value],
        "max.message.bytes": topic.max_record_bytes,
    }
    if topic.retention_ms is not None:
        word = "retention.ms" if topic.cleanup is topics.Cleanup.DELETE else "delete.retention.ms"
        configuration[word] = topic.retention_ms
    return {"partitions": topic.partitions, "topicConfiguration": configuration}


def _components() -> dict[str, Any]:
    components: dict[str, Any] = {}
    for topic in topics.ALL:
        for name, summary in _MESSAGES[topic.name].items():
            if name in jsonschemas.MODELS:
                schema = {"schemaFormat": _JSON, "schema": {"$ref": f"./json/{name}.json"}}
            else:
                schema = {
                    "schemaFormat": _PROTOBUF,
                    "schema": {"$ref": f"./picket/v1/flows.proto#{name}"},
                }
            components.setdefault(
                name,
                {
                    "name": name,
                    "summary": summary,
                    "contentType": topic.encoding.value,
                    "payload": schema,
                },
            )
    return components


def text() -> str:
    """Return the document as it is committed."""
    return jsonschemas.text(document())


def main() -> None:
    """Write the file."""
    PATH.write_text(text(), encoding="utf-8")


if __name__ == "__main__":
    main()
