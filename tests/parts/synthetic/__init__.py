"""Nodes that behave as Hubble's do, without a cluster: a ring, an observer, a mix of flows.

What they promise is held by tests/contracts/hubble, which runs against them and, where there is
one, against a real agent.
"""
