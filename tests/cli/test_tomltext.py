"""Settings survive the way through TOML."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli import tomltext

TEXT = st.text("a\"'\\\n\r\t\x00\x1f\x7f\x80é☃𝄞#=[]", max_size=8)
SCALARS = st.booleans() | st.integers(-(2**62), 2**62) | TEXT
LISTS = st.lists(SCALARS, max_size=3)
TABLES = st.lists(st.dictionaries(TEXT, SCALARS, max_size=2), max_size=2)
NAMES = st.sampled_from(["a", "alert-api", "a_b", "c3"])


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, SCALARS | LISTS | TABLES)))
def test_what_is_written_is_what_is_read(tables):
    """Any text, numbers, lists and tables within lists."""
    assert tomllib.loads(tomltext.document(tables)) == tables


def test_none_is_left_out():
    """TOML has no word for it, and a setting's default says it."""
    assert tomltext.document({"a": {"x": None, "y": 1}}) == "[a]\ny = 1\n"


def test_what_toml_cannot_say_is_an_error():
    """Rather than a guess."""
    with pytest.raises(TypeError, match="TOML has no object"):
        tomltext.value(object())
