"""What holds for all tests."""

from __future__ import annotations

import signal

# Started in the background or by nohup, pytest inherits ignored signals, and would hand that on to every daemon and
# command line that tests press Ctrl-C on.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
