"""Tell look-alike military vehicles apart on photographs, honestly.

Importing this package, and classifying with a trained bundle, needs no torch; only `vision.train` does.
"""

__version__ = "0.1.0"
