"""The committed schemas are those of the models, and fit what was committed before."""

import copy
import gzip
import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from schemas import asyncapi, jsonschemas
from schemas.compatibility import incompatibilities
from tests.schemas import committed


def test_generating_again_changes_nothing():
    """Run `python -m schemas.jsonschemas` after a change of a message."""
    for path, text in jsonschemas.generate().items():
        assert path.read_text(encoding="utf-8") == text, path.name
    assert set(jsonschemas.FOLDER.glob("*.json")) == set(jsonschemas.generate())


def test_the_asyncapi_document_is_up_to_date():
    """Run `python -m schemas.asyncapi` after a change of a topic or a message."""
    assert asyncapi.PATH.read_text(encoding="utf-8") == asyncapi.text()


@pytest.mark.parametrize("name", jsonschemas.MODELS)
def test_a_schema_fits_all_that_was_released_or_committed_before(name):
    """Only optional fields and enum values may be added; anything else is a new message type."""
    for revision, old in committed.versions(f"schemas/json/{name}.json"):
        found = incompatibilities(json.loads(old), jsonschemas.schema(name))
        assert found == [], f"against {revision}"


def test_a_history_without_git_is_told(monkeypatch):
    """A copy without its history has nothing to compare with, and says so by skipping."""

    def fails(*_, **__):
        raise FileNotFoundError("git")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(pytest.skip.Exception, match="no history"):
        committed.versions("schemas/json/picket.match.v1.json")


OLD = jsonschemas.schema("picket.match.v1")


def changed(change):
    new = copy.deepcopy(OLD)
    change(new)
    return incompatibilities(OLD, new)


def match(schema):
    return schema["$defs"]["Match"]


def test_an_optional_field_may_be_added():
    """Older messages have none, and older readers pass it over."""
    assert changed(lambda new: match(new)["properties"].update(extra={"type": "string"})) == []


def test_an_enum_value_may_be_added():
    """A reader is told to expect ones that it does not know."""
    assert changed(lambda new: new["$defs"]["Severity"]["enum"].append("urgent")) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda new: match(new)["properties"].pop("count"), "$.data.count: is gone"),
        (lambda new: match(new)["required"].append("runbook"), "runbook: is required now"),
        (lambda new: match(new)["required"].remove("count"), "count: was always there"),
        (lambda new: match(new)["properties"]["count"].update(type="string"), "count: type was"),
        (lambda new: match(new)["properties"]["count"].update(minimum=2), "minimum was 1"),
        (lambda new: new["$defs"]["Severity"]["enum"].remove("low"), "the value 'low' is gone"),
        (lambda new: new["properties"]["type"].update(const="picket.match.v2"), "type: const"),
        (lambda new: match(new).update(additionalProperties=False), "became forbidden"),
        (
            lambda new: match(new)["properties"]["runbook"]["anyOf"].pop(),
            "runbook: had 2 alternatives and has 1",
        ),
        (
            lambda new: new["$defs"]["PortCount"]["properties"].pop("port"),
            "$.data.ports[].port: is gone",
        ),
    ],
)
def test_what_breaks_a_reader_is_named_with_its_place(change, said):
    """Removed, renamed, retyped, tightened: each is found, however deep."""
    assert any(said in found for found in changed(change))


ASYNCAPI = Path(__file__).parent / "asyncapi-3.0.0.schema.json.gz"
"""From github.com/asyncapi/spec-json-schemas (Apache License 2.0), as published."""


def test_the_document_is_asyncapi():
    """By the specification's own schema; a word out of place is found."""
    schema = json.loads(gzip.decompress(ASYNCAPI.read_bytes()))
    jsonschema.validate(asyncapi.document(), schema)
    broken = asyncapi.document()
    broken["channels"]["picket.flows"]["adress"] = "x"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(broken, schema)


def test_the_document_names_every_topic_and_message():
    """Each channel has an address, messages and a Kafka definition; each reference leads somewhere."""
    document = asyncapi.document()
    messages = document["components"]["messages"]
    for channel in document["channels"].values():
        assert channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"]
        for reference in channel["messages"].values():
            assert reference["$ref"].rpartition("/")[2] in messages
    for message in messages.values():
        target = message["payload"]["schema"]["$ref"].partition("#")[0]
        assert (asyncapi.PATH.parent / target).is_file()
    json.dumps(document)
