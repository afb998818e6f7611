"""Whole pipelines: each stage its own process, real parts around them, counts that must be exact."""
