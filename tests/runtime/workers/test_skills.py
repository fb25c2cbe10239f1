"""Skills of runs on a worker: their files are brought there, and commands run their scripts as they would here."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from kheish.errors import Invalid
from kheish.jobs import probing
from kheish.runtime.skills.copies import Copies
from kheish.runtime.skills.service import Skills
from kheish.runtime.workers.far import skills
from kheish.runtime.workers.placed import Placed
from kheish.runtime.workers.pool import Terms
from tests.runtime.harness import Live, call, living
from tests.runtime.skills.test_use import put
from tests.runtime.workers.harness import Machine, place

DONE = {"text": "done"}
SCRIPT = "#!/bin/sh\necho hello $1\n"
RUNS = 'sh "$KHEISH_SKILL_DIR/hello.sh" there; sh "$KHEISH_SKILL_DIR/more/x.sh"; echo $KHEISH_SKILL_DIR'


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "far")


@pytest_asyncio.fixture(params=["off", "required"])
async def it(tmp_path: Path, machine: Machine, request: pytest.FixtureRequest) -> AsyncIterator[Live]:
    if request.param == "required" and not (await probing.probe_async()).available:
        pytest.skip("bubblewrap does not work here")
    async with living(tmp_path, worker="big") as live:
        place(live, machine, Terms(request.param))
        assert isinstance(live.agent.executor, Placed) and live.agent.workers is not None
        afar = live.agent.executor.mounting.folder
        live.agent.skills = Skills(live.state, Copies(live.root / "copies"), lambda: False, afar)
        yield live
        await live.agent.workers.close()


async def test_commands_run_the_scripts_of_a_skill(it: Live, machine: Machine) -> None:
    (it.root / "skills/greet/more").mkdir(parents=True)
    put(it, "greet", "Run `sh ${KHEISH_SKILL_DIR}/hello.sh`.", **{"hello.sh": SCRIPT, "more/x.sh": "echo more\n"})
    it.script(call("use_skill", name="greet"), call("bash", command=RUNS), call("bash", command=RUNS), DONE)
    run = await it.ask()
    assert run.status == "completed", run.error
    (_, _, said), (_, _, again) = it.results()[1:]
    folder = said.splitlines()[2]
    assert said == again == f"hello there\nmore\n{folder}"
    assert folder == "/skills/greet" or Path(folder).parent == machine.root / "home-1/skills"
    assert f"sh {folder}/hello.sh" in str(it.data("skill.loaded"))
    (copy,) = (machine.root / "home-1/skills").iterdir()
    assert not list((machine.root / "home-1/skills-arriving").iterdir())
    assert sorted(path.name for path in copy.rglob("*.sh")) == ["hello.sh", "x.sh"]


def test_what_is_not_its_digest_is_no_skill(tmp_path: Path) -> None:
    def archive(name: str) -> str:
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode="w") as packed:
            packed.addfile(tarfile.TarInfo(name), io.BytesIO())
        return base64.b64encode(made.getvalue()).decode()

    for name, why in (("a", "whole"), ("../a", "no plain file"), ("/etc/a", "no plain file")):
        put_it = {"step": "put", "digest": "a" * 64, "offset": 0, "bytes": archive(name)}
        skills.act(tmp_path, "home-1", put_it)
        with pytest.raises(Invalid, match=why):
            skills.act(tmp_path, "home-1", {"step": "made", "digest": "a" * 64})
    for bad in ("../x", "A" * 64, "a" * 63):
        with pytest.raises(Invalid):
            skills.act(tmp_path, "home-1", {"step": "missing", "digests": [bad]})
    assert skills.act(tmp_path, "home-1", {"step": "missing", "digests": ["a" * 64]}) == {"missing": ["a" * 64]}
