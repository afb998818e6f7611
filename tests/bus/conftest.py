"""Loads the Kafka client where its import may warn."""

from tests.parts import kafka as kafka_part  # noqa: F401 - for what it does when loaded
