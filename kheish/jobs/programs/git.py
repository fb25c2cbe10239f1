"""The table of git: the words that a wildcard may cover for each subcommand (git 2.39, git-<subcommand>(1)).

The table omits options that write (`--output`), run a program (`--ext-diff`, `--textconv`, `--show-signature`,
`--upload-pack`), access another repository or folder (`-C`, `--git-dir`), or disable a safeguard (`--force`,
`--no-verify`).
"""

from __future__ import annotations

from collections.abc import Mapping

from kheish.jobs.programs.values import Program, Use

_DIFF = (
    "-psu -a -b -w -z -R -W -U? -S: -G: -M? -C? -B? -l: -I: --stat=? --numstat --shortstat --summary --patch-with-stat "
    "--patch-with-raw --name-only --name-status --color=? --no-color --color-words=? --no-renames --check "
    "--color-moved=? "
    "--no-color-moved --color-moved-ws= --no-color-moved-ws --full-index --binary --abbrev=? --no-abbrev "
    "--diff-filter= "
    "--find-copies-harder --find-renames=? --find-copies=? --break-rewrites=? --irreversible-delete --ignore-cr-at-eol "
    "--text --ignore-space-at-eol --ignore-space-change --ignore-all-space --ignore-blank-lines "
    "--ignore-matching-lines= "
    "--exit-code --quiet --no-ext-diff --no-textconv --no-prefix --src-prefix= --dst-prefix= --line-prefix= "
    "--inter-hunk-context= --output-indicator-new= --output-indicator-old= --output-indicator-context= --patience "
    "--histogram --minimal --raw --word-diff=? --word-diff-regex= --dirstat=? --dirstat-by-file=? --cumulative "
    "--diff-algorithm= --submodule=? --ignore-submodules=? --indent-heuristic --no-indent-heuristic --patch --no-patch "
    "--unified=? --function-context --anchored= --pickaxe-all --pickaxe-regex --relative=? --no-relative --follow "
    "--compact-summary --stat-width= --stat-name-width= --stat-count= --find-object= --rotate-to= --skip-to="
)
_REVISIONS = (
    "--all --not --branches=? --tags=? --remotes=? --glob= --exclude= --first-parent --merges --no-merges --max-count= "
    "--skip= --max-age= --since= --after= --min-age= --until= --before= --min-parents= --max-parents= --no-min-parents "
    "--no-max-parents --author= --committer= --grep= --all-match --invert-grep --regexp-ignore-case --extended-regexp "
    "--fixed-strings --perl-regexp --dense --sparse --full-history --simplify-merges --simplify-by-decoration "
    "--ancestry-path=? --left-right --left-only --right-only --cherry --cherry-mark --cherry-pick --boundary --reflog "
    "--walk-reflogs --merge --topo-order --date-order --author-date-order --reverse --no-walk=? --do-walk --parents "
    "--children --timestamp --objects --ignore-missing -n: -i -E -F -P -g -#"
)
_LOG = (
    f"{_DIFF} {_REVISIONS} -L: -c -m -t --cc --diff-merges= --no-diff-merges --combined-all-paths --root --full-diff "
    "--abbrev-commit --no-abbrev-commit --relative-date --date= --pretty=? --format= --oneline --encoding= --graph "
    "--no-graph --show-linear-break=? --decorate=? --no-decorate --decorate-refs= --decorate-refs-exclude= --source "
    "--use-mailmap --mailmap --no-mailmap --log-size --notes=? --no-notes --expand-tabs=? --no-expand-tabs"
)
_LIST = (
    "--contains= --no-contains= --merged=? --no-merged=? --points-at= --format= --sort= --column=? --no-column "
    "--color=? --no-color"
)
_FETCH = (
    "-qv -p -4 -6 -j: --all --depth= --deepen= --dry-run --prune --tags --no-tags --quiet --verbose --progress "
    "--no-progress"
)


def _looks(options: str, **more: object) -> Use:
    return Use(options=options, looks=True, **more)  # type: ignore[arg-type]  # `more` is its other fields


_SUBCOMMANDS: Mapping[str, Use] = {
    "log": _looks(_LOG),
    "show": _looks(_LOG),
    "whatchanged": _looks(_LOG),
    "diff": _looks(f"{_DIFF} -0 -1 -2 -3 --cached --staged --merge-base --no-index --base --ours --theirs"),
    "diff-tree": _looks(f"{_DIFF} -r -t -m -c -v --root --merge-base --stdin --no-commit-id --cc --pretty=? --format="),
    "diff-index": _looks(f"{_DIFF} -m --cached --merge-base"),
    "diff-files": _looks(f"{_DIFF} -0 -1 -2 -3 -q -c --cc --base --ours --theirs"),
    "range-diff": _looks(f"{_DIFF} --creation-factor= --no-dual-color --left-only --right-only --notes=? --no-notes"),
    "status": _looks(
        "-sbvz -u? --short --branch --show-stash --porcelain=? --long --verbose --untracked-files=? "
        "--ignore-submodules=? "
        "--ignored=? --column=? --no-column --ahead-behind --no-ahead-behind --renames --no-renames --find-renames=?"
    ),
    "shortlog": _looks(f"{_REVISIONS} -nsec -w? --numbered --summary --email --committer --group= --format= --date="),
    "rev-list": _looks(
        f"{_REVISIONS} --count --pretty=? --format= --oneline --abbrev=? --abbrev-commit --date= --graph --header "
        "--stdin --quiet --objects-edge --disk-usage=?"
    ),
    "rev-parse": _looks(
        "-q --verify --quiet --short=? --symbolic --symbolic-full-name --abbrev-ref=? --all --branches=? --tags=? "
        "--remotes=? --glob= --exclude= --git-dir --absolute-git-dir --git-common-dir --show-toplevel --show-cdup "
        "--show-prefix --show-superproject-working-tree --is-inside-git-dir --is-inside-work-tree --is-bare-repository "
        "--is-shallow-repository --since= --until= --revs-only --no-revs --flags --no-flags --default="
    ),
    "ls-files": _looks(
        "-cdmoistukzv -x: -X: --cached --deleted --modified --others --ignored --stage --unmerged --killed --directory "
        "--no-empty-directory --eol --exclude= --exclude-from= --exclude-standard --error-unmatch --full-name "
        "--abbrev=? --deduplicate --format="
    ),
    "ls-tree": _looks(
        "-drtlz --long --name-only --name-status --object-only --full-name --full-tree --abbrev=? --format="
    ),
    "describe": _looks(
        "--all --tags --contains --dirty=? --broken=? --long --always --abbrev=? --candidates= --exact-match --match= "
        "--exclude= --first-parent"
    ),
    "cat-file": _looks("-tspe --batch=? --batch-check=? --batch-all-objects --unordered --buffer"),
    "show-ref": _looks("-dqs? --head --heads --tags --dereference --hash=? --verify --abbrev=? --quiet"),
    "for-each-ref": _looks(
        "--count= --format= --sort= --points-at= --merged=? --no-merged=? --contains=? --no-contains=? --ignore-case "
        "--color=?"
    ),
    "name-rev": _looks("--tags --refs= --exclude= --all --name-only --no-undefined --always"),
    "merge-base": _looks("-a --all --octopus --independent --is-ancestor --fork-point"),
    "cherry": _looks("-v --abbrev=?"),
    "show-branch": _looks(
        "-ar --all --remotes --current --topo-order --date-order --sparse --list --merge-base --independent"
    ),
    "grep": _looks(
        "-aIiwvhHEGPFnlLzocpWq -# -A: -B: -C: -e: -f: -m: --cached --untracked --no-index --exclude-standard "
        "--no-exclude-standard --text --ignore-case --word-regexp --invert-match --full-name --extended-regexp "
        "--basic-regexp --perl-regexp --fixed-strings --line-number --column --files-with-matches --name-only "
        "--files-without-match --null --only-matching --count --all-match --quiet --max-depth= --recursive "
        "--no-recursive --color=? --no-color --break --heading --show-function --context= --after-context= "
        "--before-context= --function-context --and --or --not --max-count= --threads="
    ),
    "blame": _looks(
        "-bcefklnpsStw -L: -M? -C? --root --show-stats --porcelain --line-porcelain --incremental --date= "
        "--score-debug "
        "--show-email --ignore-rev= --ignore-revs-file= --color-lines --color-by-age --abbrev=? --first-parent --since="
    ),
    "annotate": _looks("-L: -l -t -w"),
    "count-objects": _looks("-vH --verbose --human-readable"),
    "check-ignore": _looks("-qvnz --quiet --verbose --stdin --non-matching --no-index"),
    "check-attr": _looks("-az --all --cached --stdin"),
    "check-ref-format": _looks("--normalize --allow-onelevel --branch"),
    "version": _looks("--build-options"),
    "var": _looks("-l"),
    # With an operand it creates something; these options only list.
    "branch": _looks(
        f"-avrl -q {_LIST} --list --all --remotes --verbose --abbrev=? --no-abbrev --show-current --ignore-case", most=0
    ),
    "tag": _looks(f"-l -n? {_LIST} --list --ignore-case", most=0),
    "remote": Use(
        options="-v --verbose",
        most=0,
        looks=True,
        subcommands={
            "get-url": _looks("--push --all"),
            **dict.fromkeys(("add", "remove", "rename", "rm"), Use(operands="ref")),
        },
    ),
    "stash": Use(
        options="-q",
        most=0,
        subcommands={
            "list": _looks(_LOG),
            "show": _looks(f"{_DIFF} --include-untracked --only-untracked"),
            "push": Use(options="-kqu -m: --message= --keep-index --quiet --include-untracked --staged"),
            **dict.fromkeys(("pop", "apply"), Use(options="-q --index --quiet", operands="ref", most=1)),
        },
    ),
    "reflog": Use(
        options=_LOG,
        operands="ref",
        looks=True,
        subcommands={"show": _looks(_LOG), "exists": _looks(""), **dict.fromkeys(("expire", "delete"), Use())},
    ),
    "worktree": Use(most=0, subcommands={"list": _looks("-vz --porcelain --verbose")}),
    "notes": Use(most=0, looks=True, subcommands={"list": _looks(""), "show": _looks("")}),
    "bisect": Use(most=0, subcommands={"log": _looks("")}),
    "submodule": Use(options="--quiet", most=0, looks=True, subcommands={"status": _looks("--cached --recursive")}),
    "config": Use(
        options="-lz --global --system --local --worktree --get= --get-all= --get-regexp= --list --show-origin "
        "--show-scope "
        "--name-only --null --type= --bool --int --path --includes --no-includes --default=",
        most=0,
        looks=True,
    ),
    # Subcommands that change the repository: only if the rule names the subcommand.
    "add": Use(options="-AnuvN --all --dry-run --update --verbose --intent-to-add --ignore-errors --refresh"),
    "commit": Use(
        options="-aqsv -m: -F: --all --message= --file= --author= --date= --signoff --no-signoff --amend --no-edit "
        "--allow-empty --allow-empty-message --dry-run --short --porcelain --quiet --verbose --status --no-status "
        "--only --include --fixup= --squash= --trailer= --reset-author"
    ),
    "push": Use(
        options="-nquv --dry-run --quiet --verbose --set-upstream --porcelain --progress --no-progress", operands="ref"
    ),
    "fetch": Use(options=_FETCH, operands="ref"),
    "pull": Use(
        options=f"{_FETCH} --rebase=? --no-rebase --ff-only --ff --no-ff --no-edit --stat --no-stat", operands="ref"
    ),
    "clone": Use(
        options="-qv -b: --quiet --verbose --progress --depth= --branch= --single-branch --no-single-branch --no-tags",
        operands="clone",
        most=2,
    ),
    "checkout": Use(options="-qbt --quiet --detach --track --progress --no-progress"),
    "switch": Use(options="-qdt -c: --quiet --create= --detach --track --guess --no-guess", operands="ref"),
    "restore": Use(options="-qSW -s: --quiet --source= --staged --worktree"),
    "merge": Use(
        options="-nqv -m: --no-commit --ff --no-ff --ff-only --squash --stat --no-stat --abort --continue --no-edit",
        operands="ref",
    ),
    "rebase": Use(
        options="-qv --abort --continue --skip --quit --onto= --quiet --verbose --stat --autosquash", operands="ref"
    ),
    "cherry-pick": Use(options="-x -n -s --no-commit --signoff --abort --continue --skip --quit", operands="ref"),
    "revert": Use(options="-n -s --no-commit --no-edit --abort --continue --skip --quit", operands="ref"),
    "reset": Use(options="-q --quiet --soft --mixed"),
    "mv": Use(options="-nkv --dry-run --verbose"),
    "rm": Use(options="-nqr --dry-run --quiet --cached --ignore-unmatch"),
    "init": Use(options="-q -b: --quiet --initial-branch=", operands="inside", most=1),
    "format-patch": Use(options="-nNsk -# --stdout --numbered --no-numbered --signoff --cover-letter", operands="ref"),
    "archive": Use(options="-l -v --list --verbose --format= --prefix=", operands="ref"),
    "ls-remote": Use(options="-htq --heads --tags --refs --quiet --exit-code --symref --sort=", operands="ref"),
    "fsck": Use(
        options="--full --no-full --strict --unreachable --dangling --no-dangling --no-reflogs --verbose --progress "
        "--no-progress",
        operands="ref",
    ),
    "gc": Use(options="-q --quiet --auto", most=0),
    "clean": Use(options="-ndqxX -e: --dry-run --quiet --exclude="),
    "apply": Use(options="-vR --check --stat --numstat --summary --verbose --reverse --index --cached --recount"),
    "am": Use(options="-qs3 --quiet --signoff --3way --abort --continue --skip --quit"),
    **dict.fromkeys(
        ("filter-branch", "difftool", "mergetool", "fetch-pack", "send-pack", "daemon", "shell", "instaweb", "help"),
        Use(most=0),
    ),
}

GIT = Program(
    source="git 2.39, git(1) and git-<subcommand>(1)",
    repository=True,
    aliases=True,
    use=Use(
        options="-P --no-pager --no-optional-locks --literal-pathspecs --no-replace-objects --version --help -h -v",
        looks=True,
        subcommands=_SUBCOMMANDS,
    ),
    others=(
        "backfill bugreport bundle check-mailmap checkout-index column commit-graph commit-tree credential "
        "credential-cache credential-store diagnose fast-export fast-import fmt-merge-msg for-each-repo fsck-objects "
        "get-tar-commit-id hash-object hook http-backend http-fetch http-push imap-send index-pack init-db "
        "interpret-trailers mailinfo mailsplit maintenance merge-file merge-index merge-octopus merge-one-file "
        "merge-ours merge-recursive merge-recursive-ours merge-recursive-theirs merge-resolve merge-subtree merge-tree "
        "mktag mktree multi-pack-index pack-objects pack-redundant pack-refs patch-id pickaxe prune prune-packed "
        "quiltimport read-tree receive-pack refs repack replace replay request-pull rerere scalar show-index "
        "sparse-checkout stage stripspace subtree symbolic-ref unpack-file unpack-objects update-index update-ref "
        "update-server-info upload-archive upload-pack verify-commit verify-pack verify-tag write-tree cvsserver svn "
        "send-email gui citool gitk gitweb p4 archimport cvsexportcommit cvsimport lfs"
    ),
    same={"stage": "add", "init-db": "init", "annotate": "blame"},
)
