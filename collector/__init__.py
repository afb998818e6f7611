"""Flows in: from Hubble relay, or a capture, onto picket.flows, each once."""
