"""Benchmarks of the budgets that the stages must keep."""
