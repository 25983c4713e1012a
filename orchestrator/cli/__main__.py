"""``python -m orchestrator.cli`` is the ``foretune`` command."""

import sys

from orchestrator.cli.entry import main

sys.exit(main())
