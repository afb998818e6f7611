import gzip
import json

import pytest

from bus.embedded import EmbeddedLog
from cli.main import run
from runtime.clock import SYSTEM
from schemas import topics
from tests.enricher import builders

CAPTURES = builders.CAPTURES
SHOP = CAPTURES / "shop.jsonl.gz"
POLICIES = CAPTURES / "policies.yaml"
FROM_FRONTEND = "app: frontend}}]\n    toPorts"


@pytest.fixture
def backtest(capsys):
    """Run the command in this process: its code, and what it wrote to both streams."""

    def backtest(policies, *more, flows=SHOP):
        code = run(
            [
                "policy",
                "backtest",
                "--policies",
                str(policies),
                "--flows",
                str(flows),
                *map(str, more),
            ]
        )
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return backtest


@pytest.fixture
def tightened(tmp_path):
    """The recording's policies, with another friend for the backend."""
    text = POLICIES.read_text()
    assert FROM_FRONTEND in text
    folder = tmp_path / "new"
    folder.mkdir()
    changed = text.replace(FROM_FRONTEND, FROM_FRONTEND.replace("frontend", "bare"), 1)
    (folder / "policies.yaml").write_text(changed)
    return folder


def test_the_policies_that_were_in_force_change_nothing(backtest):
    """No table, and code 0."""
    code, out, err = backtest(POLICIES, flows=CAPTURES / "flood.jsonl.gz")
    assert (code, out) == (0, "")
    assert err.startswith(
        "picket: 10817 verdicts, 0 newly stopped, 0 newly allowed, 10817 the same"
    )


def test_what_flowed_and_would_be_stopped_is_told_by_its_pair(backtest, tightened):
    """With counts and the reason, and code 1."""
    code, out, err = backtest(tightened)
    assert code == 1
    table = [line.split() for line in out.splitlines()]
    assert ["newly", "stopped:", "24", "flows"] in table
    (row,) = (line for line in table if line[:3] == ["24", "shop/frontend", "shop/backend"])
    assert row[3:5] == ["8080/TCP", "ingress"]
    assert "shop/backend-ingress allows 8080/TCP from app=bare; this came from shop/frontend" in out
    assert ["newly", "allowed:", "8", "flows"] in table
    assert "picket: 281 verdicts, 24 newly stopped, 8 newly allowed" in err
    assert "8 let through by audit mode alone" in err


def test_a_baseline_stands_for_what_was_recorded(backtest, tightened):
    """What Cilium did otherwise than the baseline says is told, for it was not in force."""
    code, out, err = backtest(tightened, "--baseline", POLICIES, "-o", "json")
    found = json.loads(out)
    assert code == 1
    assert found["changes"]["newly-stopped"] == 24 + 7
    assert found["baseline_disagrees"] == 7
    assert "of 7 flows the baseline says something else than Cilium did" in err
    assert backtest(tightened, "--baseline", tightened)[0] == 0


def test_json_has_everything(backtest, tightened):
    """For a pipeline to decide by."""
    _, out, _ = backtest(tightened, "-o", "json")
    found = json.loads(out)
    assert found["flows"] == 281
    assert found["groups"][0] == {
        "change": "newly-stopped",
        "direction": "ingress",
        "subject": {"namespace": "shop", "text": "shop/backend"},
        "peer": {"namespace": "shop", "text": "shop/frontend"},
        "port": "8080/TCP",
        "flows": 24,
        "first_seen": "2026-11-21T02:47:12Z",
        "last_seen": "2026-11-21T02:49:07Z",
        "why": "shop/backend-ingress allows 8080/TCP from app=bare; this came from shop/frontend",
        "policies": ["CiliumNetworkPolicy/shop/backend-ingress"],
    }


def test_a_flow_that_relay_repeats_counts_once(backtest, tmp_path):
    """It has the same uuid."""
    twice = tmp_path / "twice.jsonl"
    with gzip.open(SHOP, "rt") as lines:
        text = lines.read()
    twice.write_text(text + text)
    found = json.loads(backtest(POLICIES, "-o", "json", flows=twice)[1])
    assert (found["flows"], found["repeated"]) == (281, 281)


def test_the_topic_gives_what_the_capture_gives(backtest, tightened, tmp_path):
    """The same flows from picket.flows; those of another cluster are left out."""
    folder = tmp_path / "state"
    folder.mkdir()
    log = EmbeddedLog(folder / "log.db", time=SYSTEM)
    log.ensure(topics.ALL)
    producer = log.producer("test")
    responses = builders.shop_responses()
    with producer.transaction() as transaction:
        transaction.send(builders.a_batch(responses[:600]))
        transaction.send(builders.a_batch(responses[600:]))
        transaction.send(builders.a_batch([b"\xff", *responses[:100]], cluster="other"))
    producer.close()
    log.close()
    more = ("--cluster", "demo", "--state", folder)
    code, out, _ = backtest(tightened, "-o", "json", *more, flows="topic")
    of_topic, of_capture = json.loads(out), json.loads(backtest(tightened, "-o", "json")[1])
    assert code == 1
    assert of_topic.pop("passed_over") == of_capture.pop("passed_over")
    assert of_topic == of_capture
    everything = json.loads(backtest(tightened, "-o", "json", *more[2:], flows="topic")[1])
    assert everything["unreadable"] == 1
    assert everything["flows"] == 281


@pytest.mark.parametrize(
    ("message", "more"),
    [
        ("there is no folder or file nowhere", ("--baseline", "nowhere")),
        ("cannot be read: No such file", ("--flows", "nowhere.jsonl")),
        ("there is no log at", ("--flows", "topic", "--state", "nowhere")),
    ],
)
def test_a_mistake_is_one_line_and_code_2(backtest, tmp_path, monkeypatch, message, more):
    """Before anything is counted."""
    monkeypatch.chdir(tmp_path)
    code, out, err = backtest(POLICIES, *more)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.splitlines()) == 1
