"""The reviewed examples are what the schemas say, and each topic has one."""

import json
from pathlib import Path

import jsonschema
import pytest
from google.protobuf import json_format
from jsonschema.validators import Draft202012Validator

from schemas import jsonschemas, topics
from schemas.hubble import observer_pb2
from schemas.picket.v1 import flows_pb2

FOLDER = Path(jsonschemas.__file__).parent / "examples"
EXAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}
BY_NAME = {topic.name: topic for topic in topics.ALL}


def schema_of(example):
    """The name of the schema that a JSON example must keep."""
    value = example["value"]
    if "specversion" in value:
        return value["type"]
    return {
        "picket.policies": "picket.policies-synced"
        if value.get("synced")
        else "picket.policy-deleted"
        if value.get("deleted")
        else "picket.policy-object",
        "picket.deadletter": "picket.dead-letter",
    }[example["topic"]]


def test_every_topic_has_an_example():
    """Named after the topic; further ones show its other messages."""
    assert set(BY_NAME) <= set(EXAMPLES)
    assert {example["topic"] for example in EXAMPLES.values()} == set(BY_NAME)


def test_every_message_has_an_example():
    """No schema without something to look at."""
    shown = {schema_of(example) for example in EXAMPLES.values() if is_json(example)}
    assert shown == set(jsonschemas.MODELS)


def is_json(example):
    return BY_NAME[example["topic"]].encoding is not topics.Encoding.PROTOBUF


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if is_json(one)])
def test_a_json_example_keeps_its_schema(name):
    """It validates, the model reads it, and nothing in it is unknown to the model."""
    value = EXAMPLES[name]["value"]
    model = schema_of(EXAMPLES[name])
    schema = json.loads((jsonschemas.FOLDER / f"{model}.json").read_text())
    checker = jsonschema.FormatChecker()
    Draft202012Validator(schema, format_checker=checker).validate(value)
    read = jsonschemas.MODELS[model].model_validate(value)
    assert json.loads(read.model_dump_json()) == value


@pytest.mark.parametrize("name", [name for name, one in EXAMPLES.items() if not is_json(one)])
def test_a_protobuf_example_has_only_known_fields(name):
    """Responses are shown decoded, and stand on the wire as bytes."""
    value = dict(EXAMPLES[name]["value"])
    for response in value.pop("responses", []):
        json_format.ParseDict(response, observer_pb2.GetFlowsResponse())
    message = flows_pb2.Checkpoint if name == "picket.collector" else flows_pb2.FlowBatch
    json_format.ParseDict(value, message())


def test_a_wrong_message_is_refused():
    """The schemas are strict about what they name."""
    value = json.loads(json.dumps(EXAMPLES["picket.matches"]["value"]))
    value["data"]["count"] = 0
    schema = jsonschemas.schema("picket.match.v1")
    with pytest.raises(jsonschema.ValidationError, match="less than the minimum"):
        jsonschema.validate(value, schema)
