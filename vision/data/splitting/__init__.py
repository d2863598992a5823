"""Dividing a data set by group."""
