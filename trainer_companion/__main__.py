"""`python -m trainer_companion` is the command `trainer-companion`."""

from __future__ import annotations

import sys

from trainer_companion.cli import main

sys.exit(main())
