"""The example is the recording, without what would puzzle a newcomer."""

import gzip
import json
from collections import Counter
from pathlib import Path

from ruamel.yaml import YAML

from examples import make_shop

CAPTURES = Path(__file__).parent.parent / "data" / "captures"


def lines(path):
    with gzip.open(path, "rt") as stream:
        return [json.loads(line) for line in stream]


def test_the_capture_is_the_recording_without_its_stand_ins():
    """Seven HTTP requests fewer, and nothing else changed."""
    recording = lines(make_shop.RECORDING)
    assert lines(make_shop.EXAMPLE) == [
        entry for entry in recording if "http" not in entry.get("flow", {}).get("l7", {})
    ]
    assert len(recording) - len(lines(make_shop.EXAMPLE)) == 7


def test_making_it_again_gives_the_same_flows():
    """The bytes too, but for other versions of zlib."""
    made = make_shop.example(make_shop.RECORDING.read_bytes())
    assert gzip.decompress(made) == gzip.decompress(make_shop.EXAMPLE.read_bytes())
    assert made[4:8] == b"\0\0\0\0", "the time of making is not in it"


def test_the_policies_are_those_of_the_recording():
    """One file each, with remarks of our own."""
    yaml = YAML(typ="safe", pure=True)
    folder = make_shop.EXAMPLE.parent / "policies"
    ours = {path.stem: yaml.load(path.read_text()) for path in folder.glob("*.yaml")}
    theirs = list(yaml.load_all((CAPTURES / "policies.yaml").read_text()))
    assert ours == {policy["metadata"]["name"]: policy for policy in theirs}
    assert Counter(path.suffix for path in folder.iterdir()) == {".yaml": len(theirs)}
