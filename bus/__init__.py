"""The log between the stages: a port, an embedded adapter on SQLite and a Kafka adapter."""
