"""The table of interpreters, test runners, checkers and build tools: the words that a wildcard may cover for each.

They run files of the workspace. So a rule names a script, module, target or package script. The wildcard covers options
that name neither other code (`-c`, `-p plugin`, `-toolexec`, `--config`) nor other places to write.
"""

from __future__ import annotations

from collections.abc import Mapping

from kheish.jobs.programs.values import Program, Use

_PYTEST = (
    "-qvxslhV -k: -m: -r: -n: --quiet --verbose --exitfirst --maxfail= --lf --last-failed --ff --failed-first --nf "
    "--new-first --sw --stepwise --stepwise-skip --collect-only --co --tb= --showlocals --no-showlocals --durations= "
    "--durations-min= --capture= --color= --no-header --no-summary --disable-warnings --strict-markers --markers "
    "--fixtures --setup-show --runxfail --deselect= --ignore= --ignore-glob= --numprocesses= --dist= --timeout= "
    "--cov=? "
    "--no-cov --randomly-seed= --reruns= --asyncio-mode= --version --help"
)
_MODULES: Mapping[str, Use] = {
    "pytest": Use(runs=True, options=_PYTEST, operands="inside"),
    "unittest": Use(
        runs=True,
        options="-vqfbch -k: -s: -p: -t: --start-directory= --pattern= --top-level-directory= "
        "--verbose --quiet --failfast --buffer --locals --durations= --help",
        values=dict.fromkeys(("-s", "-t", "--start-directory", "--top-level-directory"), "inside"),
        operands="inside",
    ),
    "mypy": Use(
        runs=True,
        options="-v -h -V --strict --verbose --no-incremental --pretty --show-error-codes --no-error-summary "
        "--no-color-output "
        "--ignore-missing-imports --check-untyped-defs --warn-unreachable --python-version= --version --help",
        operands="inside",
    ),
    "ruff": Use(
        options="--version --help",
        looks=True,
        subcommands={
            "check": Use(
                runs=True,
                options="-qvse --quiet --verbose --silent --select= --ignore= --extend-select= --statistics --diff "
                "--no-fix "
                "--output-format= --no-cache --show-files --exit-zero --target-version= --line-length= --preview",
                operands="inside",
            ),
            "format": Use(
                runs=True,
                options="-qvs --check --diff --quiet --verbose --silent --line-length= --no-cache --target-version=",
                operands="inside",
            ),
        },
    ),
    "black": Use(
        runs=True,
        options="-qvS -l: --check --diff --quiet --verbose --line-length= --color --version",
        operands="inside",
    ),
    "isort": Use(runs=True, options="-qvc --check --check-only --diff --quiet --verbose --version", operands="inside"),
    "flake8": Use(
        runs=True,
        options="-qv --select= --ignore= --extend-ignore= --max-line-length= --count --statistics --show-source "
        "--version",
        operands="inside",
    ),
    "compileall": Use(options="-qfl", operands="inside", least=1),
    "py_compile": Use(options="-q", operands="inside", least=1),
    "json.tool": Use(
        options="--sort-keys --no-ensure-ascii --json-lines --indent= --tab --no-indent --compact", most=1, looks=True
    ),
    "pip": Use(
        options="-V --version --disable-pip-version-check",
        looks=True,
        subcommands={
            "list": Use(options="-v --format= --not-required --local --user --verbose", looks=True, most=0),
            "freeze": Use(options="-l --local --user --all", looks=True, most=0),
            "show": Use(options="-fv --files --verbose", looks=True),
            "check": Use(looks=True, most=0),
            **dict.fromkeys(
                ("install", "uninstall", "download", "wheel", "config", "cache", "index", "search", "hash", "debug"),
                Use(options="-qv --quiet --verbose --no-deps --upgrade --pre", operands="name"),
            ),
        },
    ),
}
_MODULE_SOURCE = "pytest 8, unittest, mypy 1, ruff 0, black, isort, flake8, compileall, json.tool, pip 24: their --help"

PYTHON = Program(
    source="python(1): -c, -m, -i, -W, -X and standard input are code or name it",
    use=Use(
        options="-BdEIOPqsSuvV --version --help -h",
        operands="inside",
        least=1,
        rest="free",
        runs=True,
        selector="-m",
        subcommands=_MODULES,
    ),
)
_NODE = "--trace-warnings --trace-deprecation --no-warnings --enable-source-maps"
_SCRIPTS = Use(options="-s --silent --if-present", operands="name", least=1, rest="dashes")
_NPM = Use(
    options="-v -h --version --help",
    looks=True,
    subcommands={
        "ls": Use(options="-al --all --long --json --parseable --depth=", looks=True),
        "run": _SCRIPTS,
        "test": Use(options="-s --silent --if-present", rest="dashes"),
        **dict.fromkeys(("start", "stop", "restart", "lint", "build"), Use(options="-s --silent", rest="dashes")),
        **dict.fromkeys(
            (
                "install",
                "ci",
                "add",
                "remove",
                "update",
                "uninstall",
                "publish",
                "exec",
                "dlx",
                "x",
                "create",
                "link",
                "config",
            ),
            Use(options="-DEOS --silent --save-dev --no-audit --no-fund --ignore-scripts", operands="name"),
        ),
    },
)
_NPM_SAME = {
    "list": "ls", "ll": "ls", "la": "ls", "i": "install", "in": "install", "ins": "install", "inst": "install",
    "isntall": "install", "clean-install": "ci", "ic": "ci", "run-script": "run", "rum": "run", "urn": "run",
    "t": "test",
    "tst": "test", "un": "uninstall", "unlink": "uninstall", "rm": "uninstall", "r": "uninstall", "up": "update",
    "upgrade": "update", "innit": "init", "c": "config", "ln": "link",
}  # fmt: skip
_NPM_OTHERS = (
    "access adduser audit bugs cache completion dedupe deprecate diff dist-tag docs doctor edit explain explore "
    "find-dupes "
    "fund get help help-search hook init install-ci-test install-test login logout org outdated owner pack ping pkg "
    "prefix profile prune query rebuild repo root sbom search set shrinkwrap star stars team token undeprecate "
    "unpublish "
    "unstar version view whoami"
)
_CARGO_BUILD = (
    "-qvr -p: -j: -F: --quiet --verbose --release --package= --workspace --all --lib --bins --bin= --examples "
    "--example= "
    "--tests --test= --benches --bench= --all-targets --features= --all-features --no-default-features --locked "
    "--offline "
    "--frozen --keep-going --jobs= --color= --message-format= --no-run --no-fail-fast --doc"
)
_CARGO = Use(
    options="-V -q --version --quiet --list --color=",
    looks=True,
    subcommands={
        **dict.fromkeys(("build", "check", "clippy", "doc"), Use(options=_CARGO_BUILD, most=0)),
        **dict.fromkeys(("test", "bench", "run"), Use(options=_CARGO_BUILD, operands="name", rest="dashes")),
        "fmt": Use(options="-qv --check --all --quiet --verbose", most=0),
        "tree": Use(options="-qvied -p: --depth= --prefix= --duplicates --locked --offline", looks=False),
        "metadata": Use(options="-q --no-deps --format-version= --locked --offline"),
        **dict.fromkeys(
            ("add", "remove", "update", "fetch", "install", "uninstall", "publish", "clean", "fix"),
            Use(operands="name"),
        ),
    },
)
_GO_BUILD = (
    "-v -a -n -x -race -json -short -failfast -cover -count= -timeout= -run= -bench= -parallel= -tags= -cpu= -trimpath"
)
_GO = Use(
    options="",
    words=True,
    looks=True,
    subcommands={
        "version": Use(options="-m -v", words=True, looks=True),
        "list": Use(options="-json -deps -test -m -e -f= -tags=", words=True, operands="inside"),
        "doc": Use(options="-all -c -short -src -u", words=True, looks=True),
        "env": Use(options="-json", words=True, looks=True),
        **dict.fromkeys(("test", "vet", "build", "run"), Use(options=_GO_BUILD, words=True, operands="inside")),
        "fmt": Use(options="-n -x", words=True, operands="inside"),
        **dict.fromkeys(
            ("get", "install", "generate", "clean", "mod", "work", "tool", "fix"), Use(operands="name", words=True)
        ),
    },
)
_COMMAND = Use(options="-q --quiet", operands="any", rest="command")
_UV = Use(
    options="-qV --quiet --version",
    looks=True,
    subcommands={
        "run": Use(options="-q --quiet --frozen --locked --no-sync --offline", rest="command"),
        **dict.fromkeys(
            ("sync", "lock", "add", "remove", "tree", "pip", "tool", "venv", "build", "publish", "python"),
            Use(operands="name"),
        ),
    },
)

TABLE: Mapping[str, Program] = {
    "python": PYTHON,
    **{
        name: Program(source=_MODULE_SOURCE, use=use)
        for name, use in _MODULES.items()
        if name != "json.tool" and name != "unittest"
    },
    "node": Program(
        source="node(1): -e, -p, -r, --import, --loader, --inspect and standard input are code or name it",
        use=Use(runs=True, options=_NODE, operands="inside", least=1, rest="free", stops="--version --help -v -h"),
    ),
    **{
        name: Program(
            source=f"{name}(1): -e, -I, -r, -M and their like, and standard input, are code or name it",
            use=Use(runs=True, options="-w", operands="inside", least=1, rest="free", stops="--version -v"),
        )
        for name in ("perl", "ruby", "php")
    },
    **dict.fromkeys(
        ("deno", "bun", "lua", "Rscript"),
        Program(
            source="their manuals: code by an option, standard input or an address", use=Use(operands="inside", least=1)
        ),
    ),
    **dict.fromkeys(
        ("sqlite3", "psql", "mysql", "ed", "ex", "vi", "vim", "nvim", "emacs", "nano", "less", "more", "man", "tclsh"),
        Program(source="their manuals: their own commands run others, write files and read startup files", wraps=True),
    ),
    "npm": Program(source="npm 10, npm-<command>(1)", use=_NPM, aliases=True, others=_NPM_OTHERS, same=_NPM_SAME),
    **dict.fromkeys(
        ("pnpm", "yarn"),
        Program(
            source="pnpm.io/cli, yarnpkg.com/cli: any other word is a script",
            use=_NPM,
            aliases=True,
            others=_NPM_OTHERS,
            same=_NPM_SAME,
        ),
    ),
    "cargo": Program(
        source="cargo 1.8x, cargo-<command>(1): --config, -Z, --manifest-path, --target-dir and `+toolchain` do more",
        use=_CARGO,
        aliases=True,
        others="generate-lockfile git-checkout help info init locate-project login logout miri new owner package pkgid "
        "read-manifest report rustc rustdoc search vendor verify-project version yank config",
        same={"b": "build", "c": "check", "d": "doc", "t": "test", "r": "run", "rm": "remove"},
    ),
    "go": Program(
        source="go help build, go help test: -exec, -toolexec, -vettool, -o, -C and flags for tools do more", use=_GO
    ),
    "make": Program(
        source="GNU make 4.3: -f, -C, -I, -E and `A=b` do more",
        use=Use(
            options="-knsBqwS -j? --keep-going --dry-run --silent --quiet --always-make --jobs=? --question "
            "--no-print-directory "
            "--version --help",
            operands="target",
        ),
    ),
    "uv": Program(source="docs.astral.sh/uv/reference/cli", use=_UV),
    **dict.fromkeys(
        ("poetry", "pdm", "pipenv", "hatch", "rye", "bundle"),
        Program(
            source="their --help",
            use=Use(options="-V --version", looks=True, subcommands={"run": _COMMAND, "exec": _COMMAND}),
        ),
    ),
    "curl": Program(
        source="curl(1): -o, -O, -K, -T, -d @file, -H @file and 200 more write, read or send files",
        use=Use(
            options="-sSfLIikv46 -m: -H: --silent --show-error --fail --location --head --include --max-time= "
            "--header= "
            "--compressed --version",
            values=dict.fromkeys(("-H", "--header"), "text"),
        ),
    ),
    "wget": Program(
        source="wget(1): its letters are not those of curl; -O, -o, -i, --post-file, --use-askpass and more do more",
        use=Use(options="-qvS46 -t: -T: --quiet --verbose --server-response --tries= --timeout= --version"),
    ),
    **dict.fromkeys(
        ("rsync", "scp", "sftp"),
        Program(
            source="rsync(1), scp(1): -e, -S, -o, -F, --rsync-path and remote places do more",
            use=Use(options="-avqrptnz", operands="local"),
        ),
    ),
    **dict.fromkeys(
        ("tee", "split", "csplit", "shuf"),
        Program(
            source="GNU coreutils 9.1: they write what the words name",
            anywhere=True,
            use=Use(options="-aipq -n:", operands="inside"),
        ),
    ),
}
