"""For all tests."""

from __future__ import annotations

import signal

# A shell starts what it puts into the background with this signal ignored, and children inherit that: programs that tests
# interrupt would never hear of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
