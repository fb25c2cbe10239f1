"""A finder that finds nothing, and notes who looks for a module on the event loop."""

import sys
import threading
from pathlib import Path


class Recorder:
    """Notes modules that are imported on the main thread once there is a loop."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("a", buffering=1)  # noqa: SIM115 - as long as the process lives

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Write the module, and the place in our code that wants it."""
        running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
        if threading.current_thread() is threading.main_thread() and running and running() is not None:
            frame = sys._getframe(1)
            while frame.f_back is not None and "/kheish/" not in frame.f_code.co_filename:
                frame = frame.f_back
            self._file.write(f"{name} {frame.f_code.co_filename}:{frame.f_lineno}\n")
