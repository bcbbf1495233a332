"""`python -m annotator_companion` is the command `annotator-companion`."""

from __future__ import annotations

import sys

from annotator_companion.cli import main

sys.exit(main())
