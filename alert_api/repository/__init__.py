"""All SQL of the alert API: one module a subject. Callers open and commit the transactions."""
