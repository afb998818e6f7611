"""Upstream: what the policies are, and since when, onto picket.policies."""
