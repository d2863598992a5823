"""Parametric models of vehicles, and the scenes they stand in. Used by scripts/render_lookalikes.py alone."""
