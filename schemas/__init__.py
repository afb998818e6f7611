"""What crosses a process boundary: protos, topics and messages. Imports nothing of ours."""
