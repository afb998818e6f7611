"""Picket's own protobuf messages."""
