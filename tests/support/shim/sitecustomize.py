"""Python imports this at start where the folder is on PYTHONPATH; tests put it there (`tests/support/faults.py`)."""

import os
import traceback

if "KHEISH_SHIM" in os.environ:
    try:
        import storeshim

        storeshim.install()
    except Exception:  # noqa: BLE001 - Python would go on without us, and a test would wait for a fault that never comes
        traceback.print_exc()
        os._exit(97)
