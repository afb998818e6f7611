"""Where settings come from, and what is said of bad ones."""

import pytest
from pydantic import Field

from runtime.errors import UserError
from runtime.settings import Settings, read_secret


class Some(Settings):
    needed: str = Field(description="must be given")
    count: int = Field(default=3, ge=1, description="how many")
    a_name: str = Field(default="x", description="a name")


def load(flags=None, environment=None, file=None, defaults=None):
    return Some.load(
        "alert-api",
        flags=flags or {},
        environment=environment or {},
        file=file,
        defaults=defaults,
    )


def test_flags_win_over_the_environment_over_the_file_over_defaults(tmp_path):
    """Each source hides the ones below it, setting by setting."""
    file = tmp_path / "picket.toml"
    file.write_text('[alert-api]\ncount = 5\nneeded = "file"\na-name = "file"\n')
    environment = {"PICKET_ALERT_API_COUNT": "7", "PICKET_ALERT_API_NEEDED": "variable"}
    found = load({"needed": "flag"}, environment, file, {"needed": "default", "a_name": "default"})
    assert found == Some(needed="flag", count=7, a_name="file")


@pytest.mark.parametrize(
    ("flags", "environment", "said"),
    [
        ({}, {}, "alert-api: --needed is needed"),
        ({"needed": "x", "count": "none"}, {}, "--count: Input should be a valid integer"),
        ({"needed": "x"}, {"PICKET_ALERT_API_COUNT": "0"}, "PICKET_ALERT_API_COUNT: Input should"),
    ],
)
def test_a_bad_setting_is_named_with_where_it_came_from(flags, environment, said):
    """The message says which flag or variable to change."""
    with pytest.raises(UserError) as caught:
        load(flags, environment)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[alert-api\n", "is not valid TOML"),
        ("alert-api = 3\n", r"\[alert-api\] must be a table"),
        ('[alert-api]\nneeded = "x"\ncuont = 3\n', r"\[alert-api\] cuont: Extra inputs"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, text, said):
    """Broken TOML, a wrong shape and a misspelled name are all told."""
    file = tmp_path / "picket.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        load(file=file)


def test_a_secret_is_read_from_its_file_and_never_shown(tmp_path):
    """An empty or binary file is named without its content."""
    file = tmp_path / "token"
    file.write_text("  secret\n")
    assert read_secret(file, what="the token") == "secret"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="is not text"):
        read_secret(file, what="the token")
    file.write_text("")
    with pytest.raises(UserError, match="is empty"):
        read_secret(file, what="the token")
