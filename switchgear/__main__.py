"""`python -m switchgear`: the command line without the installed script."""

from switchgear.cli.main import main

main()
