"""Decisions of people who looked at pictures."""
