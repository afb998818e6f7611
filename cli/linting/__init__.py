"""Linting files of policies: reading them with places, and reports in every format.

What is wrong with a policy is known by `policies.linting`; here it gets a file and a line.
"""
