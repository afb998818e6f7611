"""One module a version: what it adds, and nothing that is still changing."""
