"""What `make run` runs, and how others read the topics."""
