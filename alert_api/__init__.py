"""Matches in, alerts out: the list API and page, picket.alerts, and GitLab."""
