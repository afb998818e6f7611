"""Fuzzing of the matcher with atheris: `python -m tests.fuzz TARGET --runs N`, see docs/fuzzing.md.

A target is a module with `one`, which takes bytes and raises where something is wrong, and `seeds`,
from which the fuzzer starts; `modules` says which lines it should reach.
"""
