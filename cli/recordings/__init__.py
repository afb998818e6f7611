"""Recorded flows for the commands that put them to policies: where they come from, and their form.

What policies make of them is known by `policies`; nothing here decides about a flow.
"""
