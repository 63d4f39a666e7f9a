"""`python -m switchgear.bench`: the benchmark without the rest of the command line."""

from switchgear.bench.command import main

raise SystemExit(main())
