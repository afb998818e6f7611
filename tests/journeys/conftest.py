"""Has the asserts that stand in `told` say what differs, as those of the tests do."""

import pytest

pytest.register_assert_rewrite("tests.journeys.told")
