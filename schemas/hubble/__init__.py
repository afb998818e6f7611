"""Hubble's messages and services, by its wire table."""
