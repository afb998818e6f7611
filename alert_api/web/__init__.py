"""The HTTP side: the JSON API, the page, and who may see them. No SQL here."""
