"""`python -m tests.console.screenshots [FOLDER]`: a picture of each page, at both sizes and in both colour schemes.

`make screenshots` writes the few that the docs show to `docs/images`, as small WebP files; all others are for looking.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.console import browser, scene, terminal
from tests.console.pages import addresses
from tests.support.daemon import Daemon

SIZES = {"wide": (1280, 860), "phone": (390, 844)}
#: pictures of the docs: page → size and colour scheme
SHOWN = {
    "home": ("wide", "light"),
    "approval": ("wide", "light"),
    "session": ("wide", "dark"),
    "flow": ("wide", "light"),
    "edit": ("wide", "dark"),
    "session-waiting": ("phone", "dark"),
}


def take(daemon: Daemon, folder: Path, docs: Path | None) -> None:
    """Write all pictures to `folder`, and those of the docs to `docs` as well."""
    pages = addresses(daemon)
    with browser.launched() as launched:
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                context = launched.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                browser.log_in(context, daemon)
                page = context.new_page()
                for name, path in pages.items():
                    browser.open_page(page, daemon, path)
                    if name.startswith("edit"):
                        page.wait_for_selector(".cm-content")
                    page.wait_for_timeout(300)
                    raw = page.screenshot()
                    (folder / f"{name}-{size}-{scheme}.png").write_bytes(raw)
                    if docs is not None and SHOWN.get(name) == (size, scheme):
                        Image.open(io.BytesIO(raw)).save(docs / f"console-{name}.webp", quality=80, method=6)
                context.close()
        picture = folder / "terminal-chat.png"
        terminal.take(launched, picture)
        if docs is not None:
            Image.open(picture).save(docs / "terminal-chat.webp", quality=80, method=6)


def main() -> int:
    """Make the scene, and take the pictures."""
    docs = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    if docs is not None:
        docs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="kheish-screenshots-"))
    with tempfile.TemporaryDirectory() as made, scene.served(Path(made)) as daemon:
        take(daemon, folder, docs)
    print(folder)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
