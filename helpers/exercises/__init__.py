"""Checkers of the exercises: one module a notebook, what they share in checker."""
