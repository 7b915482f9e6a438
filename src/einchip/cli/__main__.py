"""`python -m einchip.cli`."""

from einchip.cli import main

main()
