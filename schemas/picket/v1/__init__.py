"""The first version of Picket's own protobuf messages."""
