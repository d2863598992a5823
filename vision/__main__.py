"""`python -m vision` is `vision`."""

from vision.cli import main

main()
