"""Settings are checked before anything starts."""

from pathlib import Path
from typing import Any

import pytest

from alert_api.settings import Settings
from runtime.errors import UserError

GITLAB = {"project": "42", "url": "https://gitlab.test/x.json", "token_file": "key"}


def load(**flags: Any) -> Settings:
    given = {"database": "sqlite:///alerts.db", "token_file": "token", **flags}
    return Settings.load("alert-api", flags=given, environment={})


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"database": "mysql://x/y"}, "--database"),
        ({"database": "nonsense"}, "--database"),
        ({"database": "sqlite://"}, "must name a file"),
        ({"database": "postgresql://u:secret@h/d"}, "database_password_file"),
        ({"port": "99999"}, "--port"),
        ({"slot": "a b"}, "--slot"),
        ({"resolve_after": 5}, "--resolve-after"),
        ({"public_url": "picket.test"}, "--public-url"),
        ({"tls_key": "key.pem"}, "go together"),
        ({"gitlab": "no json"}, "JSON list"),
        ({"gitlab": [{**GITLAB, "url": "ftp://x"}]}, "http or https"),
        ({"gitlab": [{**GITLAB, "url": "https://u:p@x"}]}, "token_file"),
        ({"gitlab": [GITLAB, GITLAB]}, "each project once"),
        ({"colour": "red"}, "--colour"),
    ],
)
def test_a_bad_setting_is_named(flags: dict[str, Any], said: str) -> None:
    """In one line, without its secret."""
    with pytest.raises(UserError) as caught:
        load(**flags)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)


def test_lists_can_come_as_text() -> None:
    """From flags and the environment."""
    settings = load(
        hosts="a.test, b.test",
        gitlab='[{"project": "42", "url": "https://x", "token_file": "k"}]',
    )
    assert settings.hosts == ("a.test", "b.test")
    assert settings.gitlab[0].token_file == Path("k")


def test_the_driver_is_ours_to_choose() -> None:
    """Whatever the address says."""
    for address in ("postgresql://u@h/d", "postgresql+psycopg://u@h/d"):
        assert load(database=address).database_url().drivername == "postgresql+psycopg"


def test_every_setting_has_a_sentence() -> None:
    """It is the flag's help and its line in the documentation."""
    assert all(field.description for field in Settings.model_fields.values())
