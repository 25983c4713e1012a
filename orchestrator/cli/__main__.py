"""``python -m orchestrator.cli`` is the ``foretune`` command."""

import sys

from orchestrator.cli.main import main

sys.exit(main())
