"""Fetching openly licensed pictures from the web."""
