"""The entry point of `python -m kheish.generate.client`."""

import sys

from kheish.generate.client import main

sys.exit(main())
