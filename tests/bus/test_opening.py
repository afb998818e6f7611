"""Which log a setting names, and that bad settings are told before anything is opened."""

from pathlib import Path

import pytest

from bus import embedded, opening, port
from runtime.errors import UserError


@pytest.mark.parametrize(
    ("bus", "servers"),
    [
        ("kafka://a:1", ("a:1",)),
        ("kafka://a:1,b:2", ("a:1", "b:2")),
        ("kafka://a", ("a:9092",)),
        ("kafka://a:1, b:2/", ("a:1", "b:2")),
        ("kafka://[::1]:9", ("[::1]:9",)),
    ],
)
def test_servers_are_read_from_the_address(bus: str, servers: tuple[str, ...]) -> None:
    """Servers stand in a list with commas; the usual port is the default."""
    assert opening.servers(bus) == servers


@pytest.mark.parametrize(
    "bus", ["", " ", "kafka://", "kafka://a:b", "kafka://a:1,,b:1", "http://a", "file://else/where"]
)
def test_an_address_that_names_nothing_is_refused(bus: str) -> None:
    """What is neither a path nor servers is told with the flag it came from."""
    with pytest.raises(UserError, match="--bus"):
        opening.BusSettings.load("bus", flags={"bus": bus}, environment={})


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kafka_sasl": "PLAIN"}, "kafka_user"),
        ({"kafka_sasl": "SCRAM-SHA-512", "kafka_user": "a"}, "kafka_password_file"),
        ({"kafka_sasl": "OAUTHBEARER"}, "kafka_token_file"),
        ({"kafka_ca_file": "/ca"}, "kafka_tls"),
        ({"kafka_tls": True, "kafka_key_file": "/key"}, "kafka_certificate_file"),
    ],
)
def test_settings_that_need_each_other_are_checked(fields: dict[str, object], named: str) -> None:
    """Half a way in is refused, naming the missing half."""
    with pytest.raises(UserError, match=named):
        opening.BusSettings.load("bus", flags={"bus": "kafka://a:1", **fields}, environment={})


def test_a_path_opens_the_embedded_log(tmp_path: Path) -> None:
    """A path makes the file and its folder, for its owner alone, and finds it again as an URL."""
    path = tmp_path / "deep er" / "log.db"
    log = opening.open_log(opening.BusSettings(bus=str(path)))
    assert isinstance(log, embedded.EmbeddedLog)
    log.close()
    assert path.stat().st_mode & 0o077 == 0
    assert opening.file(path.as_uri()) == path


@pytest.mark.kafka
@pytest.mark.parametrize("field", ["kafka_password_file", "kafka_ca_file", "kafka_token_file"])
def test_a_missing_secret_is_a_users_mistake(field: str, tmp_path: Path) -> None:
    """A secret's file that is not there is named before anything is connected."""
    present = tmp_path / "secret"
    present.write_text("s")
    fields = {
        "kafka_password_file": {"kafka_sasl": "PLAIN", "kafka_user": "u"},
        "kafka_ca_file": {"kafka_tls": True},
        "kafka_token_file": {"kafka_sasl": "OAUTHBEARER"},
    }[field]
    settings = opening.BusSettings.model_validate(
        {"bus": "kafka://127.0.0.1:1", **fields, field: tmp_path / "absent"}
    )
    with pytest.raises(UserError, match="absent"):
        opening.open_log(settings)


def test_errors_are_one_family() -> None:
    """One clause catches all errors of a log, and a full one counts as unavailable."""
    for kind in (port.Unavailable, port.Fenced, port.RecordTooLarge, port.Misconfigured):
        assert issubclass(kind, port.LogError)
    assert issubclass(port.LogFull, port.Unavailable)
