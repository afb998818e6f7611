"""Deliveries to GitLab's HTTP endpoint integrations."""
