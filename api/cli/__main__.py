"""Lets `python -m api.cli` stand for `streamgauge`: how `up` starts its children."""

from api.cli.main import main

main()
