"""The JSON Schemas of the messages, generated from the models and committed beside them.

`python -m schemas.jsonschemas` writes schemas/json/; what may change: see schemas.compatibility.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from schemas import messages

FOLDER = Path(__file__).parent / "json"
DIALECT = "https://json-schema.org/draft/2020-12/schema"

MODELS: Mapping[str, type[BaseModel]] = {
    "picket.match.v1": messages.MatchEvent,
    "picket.progress.v1": messages.ProgressEvent,
    "picket.alert.v1": messages.AlertEvent,
    "picket.policy-object": messages.PolicyObject,
    "picket.policy-deleted": messages.PolicyDeleted,
    "picket.policies-synced": messages.Synced,
    "picket.dead-letter": messages.DeadLetter,
}
"""By the name of the file, without its ending."""


def schema(name: str) -> dict[str, Any]:
    """Return the JSON Schema of a message as it may be read: what has a default is optional."""
    model = MODELS[name]
    return {"$schema": DIALECT, **model.model_json_schema(mode="validation")}


def text(document: Mapping[str, Any]) -> str:
    """Return JSON as it is committed."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def generate() -> dict[Path, str]:
    """Return what each committed file must say."""
    return {FOLDER / f"{name}.json": text(schema(name)) for name in MODELS}


def main() -> None:
    """Write the files."""
    FOLDER.mkdir(exist_ok=True)
    wanted = generate()
    for path in set(FOLDER.glob("*.json")) - set(wanted):
        path.unlink()
    for path, content in wanted.items():
        path.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
