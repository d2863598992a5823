"""The command line: the only place that parses arguments, prints and exits."""

from vision.cli.commands import main, main_classify

__all__ = ["main", "main_classify"]
