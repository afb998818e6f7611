"""Settings say what they are: to the command line, to the documentation and to who reads them."""

import importlib
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.settings import Settings
from tests.architecture import house

SECRETS = ("token", "password", "secret", "key")


def classes() -> Iterator[type[Settings]]:
    """Return every class of settings there is."""
    # While tests are collected, so nothing is parsed for it.
    for path in house.files():
        if path.parts[0] in house.PACKAGES and path.name in ("settings.py", "opening.py"):
            module = importlib.import_module(".".join(path.with_suffix("").parts))
            for value in vars(module).values():
                if not isinstance(value, type) or not issubclass(value, Settings):
                    continue
                if value is not Settings and value.__module__ == module.__name__:
                    yield value


CLASSES = sorted(classes(), key=lambda found: (found.__module__, found.__name__))
FIELDS = [
    pytest.param(found, name, id=f"{found.__module__}.{name}")
    for found in CLASSES
    for name in found.model_fields
]


def test_every_stage_has_settings():
    packages = {found.__module__.partition(".")[0] for found in CLASSES}
    assert packages == {"agent", "alert_api", "bus", "cli", "collector", "enricher"}


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_a_setting_is_described(settings, name):
    """It is the flag's help."""
    assert len((settings.model_fields[name].description or "").split()) >= 3


@pytest.mark.parametrize(("settings", "name"), FIELDS)
def test_a_secret_is_the_path_of_a_file(settings, name):
    """So it stands in no process list, no environment and no configuration."""
    if name.rpartition("_")[2] in SECRETS:
        kind = settings.model_fields[name].annotation
        assert Path in (kind, *typing.get_args(kind))


@pytest.mark.parametrize("settings", CLASSES, ids=lambda found: found.__module__)
def test_settings_are_frozen_and_know_no_others(settings):
    assert settings.model_config["frozen"]
    assert settings.model_config["extra"] == "forbid"
