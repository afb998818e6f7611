"""Real parts (a broker, a database, a relay) for tests: had from package registries, then kept."""
