"""`python -m converter_companion`."""

import sys

from converter_companion.cli import main

sys.exit(main())
