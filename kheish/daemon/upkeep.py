"""Maintenance of the state root: decisions after its branch was moved back, packing, reindexing."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import orjson

from kheish.authoring.problems import Problems
from kheish.daemon.status import Facts
from kheish.errors import Conflict, Unavailable
from kheish.store.pipes import Child

log = logging.getLogger(__name__)

Choice = Literal["put_back", "accept"]
#: loose objects from which on git's objects are packed, and bytes of all of them from which on people are told
LOOSE, LARGE = 6000, 4 * 1024**3
#: seconds between two looks at the objects
LOOK = 30.0


class Upkeep:
    """Maintenance operations; `reindex()` rebuilds the index from journals and the log."""

    def __init__(
        self, root: Path, git: Child, facts: Facts, problems: Problems, reindex: Callable[[], Awaitable[None]]
    ) -> None:
        self._root = root
        self._git = git
        self._facts = facts
        self._problems = problems
        self._reindex = reindex
        self._rewound: dict[str, Any] | None = None
        self._decided: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    # --- moved back ---------------------------------------------------------------------------------------------------

    def rewound(self) -> str | None:
        """Return the problem of a branch that was moved back, until an operator decides."""
        found = self._rewound
        if found is None:
            return None
        return (
            f"The branch is at {found['head'][:10]}, and lacks {found['files']} files of the daemon's last commit "
            f"{found['last'][:10]}. Nothing acts until you decide: `kheish state put-back` restores them; "
            "`kheish state accept-rewind` continues from here."
        )

    async def start(self) -> bool:
        """Return whether the branch was moved back, and an operator has to decide first."""
        self._rewound = await self._git.request("rewound")
        if self._rewound is None:
            return False
        self._decided = asyncio.get_running_loop().create_future()
        self._problems.add("state_rewound", "", self.rewound() or "")
        log.warning("%s", self.rewound())
        self._facts.starting = None
        return True

    async def decided(self) -> None:
        """Wait until an operator's decision is applied."""
        if self._decided is not None:
            await self._decided

    async def decide(self, choice: Choice) -> Mapping[str, Any]:
        """Apply the operator's choice. Raises Conflict if nothing was moved back, or another git is at work."""
        async with self._turn:
            found = self._rewound
            if found is None or self._decided is None:
                raise Conflict("The state root was not moved back; there is nothing to decide.")
            answer = await self._git.request("put_back_rewound" if choice == "put_back" else "accept_rewind")
            if "held" in answer:
                raise Conflict(f"Another git process is at work. {answer['held']} Then decide again.")
            log.warning("the branch was moved back: %s", choice)
            self._rewound, self._facts.starting = None, "The daemon is starting."
            self._problems.clear("state_rewound")
            self._decided.set_result(None)
        commit = answer.get("commit", found["head"])
        return {"choice": choice, "files": found["files"], "commit": commit, "kept": answer.get("kept")}

    # --- packing ------------------------------------------------------------------------------------------------------

    async def gc(self, *, whole: bool = True) -> Mapping[str, Any]:
        """Pack in a child, all of history or what is not packed well; what there was, and what there is now.

        Raises Unavailable where git failed.
        """
        words = [str(self._root), *(["whole"] if whole else [])]
        async with self._turn:
            child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kheish.store.git.maintenance", *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            said, _ = await child.communicate()
        if child.returncode != 0:
            raise Unavailable("Packing failed; the daemon's log says why.")
        found: dict[str, Any] = orjson.loads(said)
        self._facts.size = found["after"]
        return found

    async def reindex(self) -> Mapping[str, Any]:
        """Rebuild the index; other requests are refused until it is complete."""
        async with self._turn:
            await self._reindex()
        return {"reindexed": True}

    async def run(self) -> None:
        """Check the size periodically, and pack if many objects are loose."""
        from kheish.store.git import maintenance

        while True:
            self._facts.size = size = await asyncio.to_thread(maintenance.size, self._root)
            if size["bytes"] > LARGE:
                message = f"The state root's history has {size['bytes'] // 1024**2} MiB; git keeps the whole history."
                self._problems.add("large_history", "", message, severity="warning")
            if size["loose"] > LOOSE and self._facts.held is None:
                try:
                    await self.gc(whole=False)
                except Unavailable as error:
                    log.warning("%s", error.detail)
            await asyncio.sleep(LOOK)
