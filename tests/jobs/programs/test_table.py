"""The table of programs: what the `*` of a rule lets in, and what it does not."""

from __future__ import annotations

import shlex

import pytest

from kheish.jobs.plainwords import UNKNOWN
from kheish.jobs.programs import table as programs
from kheish.jobs.programs.values import OPERANDS, Use, options_of

COVERED = {
    "git log *": [
        "git log",
        "git log -5 --oneline --stat -p src",
        "git log --author=x --since 2w",
        "git log -n 3 -S needle",
    ],
    "git status*": ["git status", "git status -sb"],
    "git log --output=*": ["git log --output=x"],
    "git stash *": ["git stash", "git stash list", "git stash show -p"],
    "git stash pop *": ["git stash pop -q"],
    "git commit *": ["git commit -am msg", "git commit --amend --no-edit"],
    "git push *": ["git push origin main", "git push -u origin topic"],
    "git -P *": ["git -P log", "git -P status"],
    "git annex *": ["git annex get --jobs=2 x"],
    "sort *": ["sort -k2 -t, a b", "sort -rn --unique a"],
    "sort -o *": ["sort -o out in"],
    "find *": ["find . -name '*.py' -type f -not -path './x/*' -print0"],
    "sed *": ["sed -n 5,10p f", "sed 's/a/b/g' f", "sed -e 's/[0-9]+/x/' f", "sed -n '/a/,/b/p' f", "sed '1d;$d' f"],
    "awk *": ["awk '{print $1}' f", "awk -F: '$3 > 100 {print $1, $3}' f", "awk 'NR==2' f", "awk '/x/ {print $NF}' f"],
    "python *": ["python x.py -c a", "python --version"],
    "python manage.py *": ["python manage.py test -c x"],
    "python -m pytest *": ["python -m pytest -q tests/a.py -k 'a or b'", "python -m pytest -x -n 2 --tb=short"],
    ".venv/bin/python -m pytest *": [".venv/bin/python -m pytest -x tests"],
    "python3.11 -m json.tool *": ["python3.11 -m json.tool f"],
    "python -c *": ["python -c 'print(1)' -x"],
    "uv run *": ["uv run git status"],
    "uv run pytest *": ["uv run pytest -q"],
    "npm run *": ["npm run build -- --x"],
    "make *": ["make -j8 test", "make -n -k all"],
    "go test *": ["go test ./... -run X -count=1"],
    "cargo check *": ["cargo check --all --locked"],
    "tar *": ["tar tf x.tgz", "tar -tvf x.tgz"],
    "tar -xf *": ["tar -xf x.tgz"],
    "uniq *": ["uniq -c f"],
    "date *": ["date +%s", "date -u -d yesterday +%F"],
    "rg *": ["rg -n foo src", "rg -tpy -A3 -- -x"],
    "jq *": ["jq -r .a f"],
    "env": ["env"],
    "xargs rm": ["xargs rm"],
    "./deploy.sh *": ["./deploy.sh -c anything --exec=x"],
    "docker *": ["docker run x"],
}
NOT_COVERED = {
    "git log *": ["git log --output=.git/config", "git log --outpu=x", "git log --ext-diff", "git log --show-signature",
                  "git log --textconv", "git log -O x"],
    "git *": ["git commit -m x", "git -c a=b log", "git --exec-path=x log", "git -C x log", "git --git-dir=x log",
        "git foo",
              "git format-patch -o .git/hooks HEAD", "git config --get a --edit"],
    "git show*": ["git show --output=x", "git show --ext-diff"],
    "git diff*": ["git diff --output x", "git diff --ext-diff", "git diff --o=x"],
    "git grep *": ["git grep -Oid x", "git grep --open-files-in-pager=id x", "git grep --ext-grep x"],
    "git format-patch *": ["git format-patch -o .git/hooks HEAD", "git format-patch --output-directory=x HEAD"],
    "git archive *": ["git archive -o x HEAD", "git archive --output=x HEAD", "git archive --remote=ext::id HEAD"],
    "git stash *": ["git stash drop", "git stash clear", "git stash pop", "git stash branch x"],
    "git branch *": ["git branch x", "git branch -D x", "git branch -m a b", "git branch --edit-description"],
    "git tag *": ["git tag x", "git tag -d x"],
    "git config *": ["git config x y", "git config --unset x", "git config --file=x --get a", "git config -e"],
    "git remote *": ["git remote add x ext::id", "git remote update", "git remote show origin"],
    "git reflog *": ["git reflog expire --all", "git reflog delete x"],
    "git submodule *": ["git submodule foreach id", "git submodule update"],
    "git push *": ["git push --force", "git push origin +main", "git push origin :main", "git push ext::id",
        "git push -f",
                   "git push --receive-pack=id x", "git push ../x"],
    "git fetch *": ["git fetch ext::id", "git fetch --upload-pack=id x", "git fetch /tmp/x"],
    "git clone *": ["git clone ext::id", "git clone -c a=b https://x/y", "git clone https://x/y ../z",
        "git clone -u id x"],
    "git rebase *": ["git rebase -x id main", "git rebase -i main", "git rebase --exec=id main"],
    "git add *": ["git add -f .env", "git add -i", "git add -e"],
    "git commit *": ["git commit --no-verify -m x", "git commit -n -m x", "git commit -S -m x"],
    "sort *": ["sort -o a b", "sort -uo a b", "sort --output=a b", "sort --compress-program=id b", "sort -T /x b"],
    "sort -o a *": ["sort -o a -o b f"],
    "find *": ["find . -exec id {} +", "find . -execdir id ;", "find . -ok id ;", "find . -delete", "find . -fprint x",
               "find . -fls x", "find . -fprintf x y", "find . -fprint0 x"],
    "sed *": ["sed -i s/a/b/ f", "sed -n -i s/a/b/ f", "sed 1e f", "sed 's/a/id/e' f", "sed 's/a/b/w out' f",
        "sed -n 'w out' f",
              "sed '/a/w x' f", "sed -f x f", "sed --in-place=x s/a/b/ f", "sed -e p -e e f", "sed 's/[/]/p;/e x]/' f",
              "sed 'r /etc/passwd' f"],
    "awk *": ["awk 'BEGIN{system(\"id\")}'", "awk '{print > \"x\"}' f", "awk '{print | \"sh\"}' f", "awk -f x f",
              "awk '{\"id\" | getline}' f", "awk -i inplace 1 f", "awk -e 'BEGIN{system(1)}'"],
    "uniq *": ["uniq a b", f"uniq {UNKNOWN}"],
    "tar *": ["tar xf x", "tar -cf x y", "tar tf x --to-command=id", "tar tf host:x",
        "tar -tf x --checkpoint-action=exec=id",
              "tar -tf x -I id", "tar --use-compress-program=id -tf x"],
    "rsync *": ["rsync -e id a b", "rsync --rsh=id a b", "rsync a host:b"],
    "scp *": ["scp -S id a b", "scp a host:b", "scp -o ProxyCommand=id a b"],
    "rg *": ["rg --pre id x", "rg --hostname-bin=id x", "rg -z x", "rg --pre=id x"],
    "sqlite3 *": ["sqlite3 x '.shell id'", "sqlite3 x"],
    "less *": ["less x"],
    "vim *": ["vim -c '!id' x"],
    "xargs *": ["xargs rm"],
    "env *": ["env id", "env"],
    "jobs *": ["jobs -x id"],
    "ssh *": ["ssh -o ProxyCommand=id h"],
    "make *": ["make SHELL=id", "make -f x", "make -C x", "make --eval=x", "make -I x", "make all CC=id"],
    "curl *": ["curl -o x u", "curl -K x", "curl -T x u", "curl -O u", "curl --output=x u", "curl -d @x u"],
    "tee *": ["tee /etc/x", "tee ../x"],
    "python *": ["python -c x", "python -m pip install x", "python /tmp/x.py", "python ../x.py", "python",
        "python -", "python -i x.py",
                 "python -Wx y", "python -Xx y", "python -um pip install x"],
    "python -m *": ["python -m pip install x", "python -m http.server", "python -m pytest"],
    "python -m pip *": ["python -m pip install x", "python -m pip --python x list", "python -m pip config set a b"],
    "python -m pytest *": ["python -m pytest -p evil", "python -m pytest --junitxml=x", "python -m pytest ../x",
        "python -m pytest -c x",
                           "python -m pytest --basetemp=x", "python -m pytest -o a=b", "python -m pytest --rootdir=/x",
                           "python -m pytest src/.\0", "python -m pytest /tmp/x.py", "python -m pytest --pdbcls=a:b"],
    "python -m json.tool *": ["python -m json.tool a b"],
    "pip *": ["pip install x", "pip download x"],
    "node *": ["node -e x", "node -r x y", "node --import x y", "node -p x", "node"],
    "perl *": ["perl -e x", "perl -pie x", "perl -Mx y"],
    "npm *": ["npm exec x", "npm run x", "npm install x", "npm publish"],
    "npm run *": ["npm run x --script-shell=y", "npm run --script-shell=y x", "npm run"],
    "go vet *": ["go vet -vettool=x ./...", "go vet --vettool=x ./...", "go vet ../x"],
    "go test *": ["go test -exec id", "go test -toolexec id", "go test -o x", "go test -c"],
    "cargo check *": ["cargo check --config x", "cargo check --manifest-path x", "cargo check --target-dir=x"],
    "cargo *": ["cargo +nightly check", "cargo build", "cargo run"],
    "uv run *": ["uv run --with evil pytest", "uv run python -c x", "uv run rm x", "uv run pytest"],
    "date *": ["date -s x", "date 01010101"],
    "xxd *": ["xxd -r a b", "xxd a b"],
    "*": ["git push", "rm x", "python x.py"],
}  # fmt: skip


def rows(table: dict[str, list[str]]) -> list[tuple[str, str]]:
    return [(match, command) for match, commands in table.items() for command in commands]


@pytest.mark.found("C8")
@pytest.mark.parametrize(("match", "command"), rows(COVERED))
def test_a_wildcard_covers_what_does_no_more(match: str, command: str) -> None:
    assert programs.fault(tuple(shlex.split(command)), match) is None


@pytest.mark.found("S5")
@pytest.mark.parametrize(("match", "command"), rows(NOT_COVERED))
def test_a_wildcard_lets_in_nothing_that_runs_writes_or_reaches_further(match: str, command: str) -> None:
    assert programs.fault(tuple(shlex.split(command)), match) is not None
    assert programs.fault(tuple(shlex.split(command)), command) is None, "written out, it is the user's word"


def test_the_table_is_sound() -> None:
    seen, todo = 0, [(name, program.use) for name, program in programs.TABLE.items()]
    assert all(program.source for program in programs.TABLE.values()), "each entry says where it is from"
    while todo:
        name, use = todo.pop()
        seen += 1
        todo += [(f"{name} {word}", more) for word, more in use.subcommands.items()]
        options = options_of(use.options, use.words)
        kinds = [use.operands, use.first, *use.values.values()]
        assert all(kind in OPERANDS for kind in kinds if kind is not None), name
        assert all(name in options.takes for name in use.values), name
        assert name == "df" or not {"--output", "--exec", "--ext-diff", "-exec", "-delete"} & set(options.takes), name
    assert seen > 200


@pytest.mark.parametrize(
    ("words", "count", "is_offered"),
    [
        ("git status -s", 2, True),
        ("git stash list -p", 3, True),
        ("git stash -q", 2, False),
        ("git commit -m x", 2, False),
        ("python -B -m pytest -q", 4, True),
        ("python -m pip list", 4, True),
        ("python -m pip install x", 4, False),
        ("python manage.py test", 2, True),
        ("uv run pytest -q", 3, True),
        ("go vet ./...", 2, False),
        ("cargo check", 2, False),
        ("ls -la", 1, True),
        ("sort -o a b", 1, False),
        ("docker run x", 3, False),
    ],
)
def test_which_words_say_what_is_run(words: str, count: int, is_offered: bool) -> None:
    assert programs.stem(tuple(words.split())) == (count, is_offered)


def test_a_program_is_known_by_its_name_whatever_its_folder_and_version() -> None:
    assert [programs.base(name) for name in ("/usr/bin/python3.12", "pip3", "nodejs", "git", "python-x")] == [
        "python", "pip", "node", "git", "python-x",
    ]  # fmt: skip
    assert programs.subcommand("git", "p") == ("p", True)
    assert programs.subcommand("npm", "i") == ("install", False)
    assert Use().looks is False
