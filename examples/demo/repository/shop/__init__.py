"""A shop. Its dependency is vendored, at the version that requirements.txt names."""

import sys
from pathlib import Path

_ROOT = Path(__file__).parent.parent
_VERSION = (_ROOT / "requirements.txt").read_text().strip().partition("==")[2]
sys.path.insert(0, str(_ROOT / "vendor" / f"fairsplit-{_VERSION}"))
