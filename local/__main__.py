"""Command line of the local stack: `python -m local`."""

import sys

from local.cli import main

sys.exit(main())
