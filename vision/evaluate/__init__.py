"""Judging predictions against the truth: metrics, confusion, reports. No torch, no model."""
