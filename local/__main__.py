"""`python -m local`: the local stack's command line."""

import sys

from local.cli import main

sys.exit(main())
