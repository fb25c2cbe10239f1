"""Writes down what a daemon imports on the thread of its event loop: `KHEISH_IMPORTS` names the file."""

import os
import sys

if "KHEISH_IMPORTS" in os.environ and "serve" in sys.orig_argv:
    import importing_recorder

    sys.meta_path.insert(0, importing_recorder.Recorder(os.environ["KHEISH_IMPORTS"]))  # type: ignore[arg-type]
