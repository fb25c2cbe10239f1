"""The table of programs that only read: the words that a wildcard may cover for each (see `program_values.Use`).

An option that is not listed needs approval, even if it is only abbreviated. The table omits options that write (`sort
-o`), run a program (`rg --pre`, `sort --compress-program`), set something (`date -s`) or unpack with another program
(`rg -z`).
"""

from __future__ import annotations

from collections.abc import Mapping

from kheish.jobs.programs.values import Program, Use

_COREUTILS = "GNU coreutils 9.1, `info coreutils`"
_SUMS = "-bctwz --binary --check --tag --text --zero --ignore-missing --quiet --status --strict --warn --help --version"
_GREP = (
    "-EFGPiwxzsvVbnHhoqaIrRLlcTZUy -# -e: -f: -m: -d: -D: -B: -A: -C: --extended-regexp --fixed-strings --basic-regexp "
    "--perl-regexp --regexp= --file= --ignore-case --no-ignore-case --word-regexp --line-regexp --null-data "
    "--no-messages --invert-match --version --help --max-count= --byte-offset --line-number --line-buffered "
    "--with-filename --no-filename --label= --only-matching --quiet --silent --binary-files= --text --directories= "
    "--devices= --recursive --dereference-recursive --include= --exclude= --exclude-from= --exclude-dir= "
    "--files-without-match --files-with-matches --count --initial-tab --null --before-context= --after-context= "
    "--context= --group-separator= --no-group-separator --color=? --colour=? --binary"
)
_RIPGREP = (
    "-bsclFLhiNnxUI0oPpqSauVHw -# -A: -B: -C: -E: -f: -g: -M: -m: -d: -e: -r: -j: -t: -T: --after-context= "
    "--auto-hybrid-regex --before-context= --binary --block-buffered --byte-offset --case-sensitive --color= --colors= "
    "--column --context= --context-separator= --count --count-matches --crlf --debug --dfa-size-limit= --encoding= "
    "--engine= --field-context-separator= --field-match-separator= --file= --files --files-with-matches "
    "--files-without-match --fixed-strings --follow --glob= --glob-case-insensitive --help --heading --hidden --iglob= "
    "--ignore-case --ignore-file= --ignore-file-case-insensitive --include-zero --invert-match --json --line-buffered "
    "--line-number --line-regexp --max-columns= --max-columns-preview --max-count= --max-depth= --max-filesize= --mmap "
    "--multiline --multiline-dotall --no-config --no-filename --no-heading --no-hidden --no-ignore --no-ignore-dot "
    "--no-ignore-exclude --no-ignore-files --no-ignore-global --no-ignore-messages --no-ignore-parent --no-ignore-vcs "
    "--no-line-number --no-messages --no-mmap --no-pcre2-unicode --no-require-git --no-unicode --null --null-data "
    "--one-file-system --only-matching --passthru --path-separator= --pcre2 --pcre2-version --pretty --quiet "
    "--regex-size-limit= --regexp= --replace= --smart-case --sort= --sortr= --stats --text --threads= --trim --type= "
    "--type-list --type-not= --unrestricted --version --vimgrep --with-filename --word-regexp"
)
_FIND = (
    "-H -L -P -O0 -O1 -O2 -O3 -a -and -o -or -not -daystart -depth -d -follow -maxdepth= -mindepth= -mount -xdev "
    "-noleaf "
    "-nowarn -warn -ignore_readdir_race -regextype= -amin= -anewer= -atime= -cmin= -cnewer= -ctime= -empty -executable "
    "-false -fstype= -gid= -group= -ilname= -iname= -inum= -ipath= -iregex= -iwholename= -links= -lname= -mmin= "
    "-mtime= "
    "-name= -newer= -newermt= -newerat= -newerct= -nogroup -nouser -path= -perm= -readable -regex= -samefile= -size= "
    "-true -type= -uid= -used= -user= -wholename= -writable -xtype= -print -print0 -printf= -ls -prune -quit -help "
    "--help -version --version"
)
_DIFF = (
    "-qscueynptTrNiEZbwBadv -C: -U: -W: -F: -x: -X: -S: -I: -D: -# --normal --brief --report-identical-files "
    "--context=? "
    "--unified=? --ed --rcs --side-by-side --width= --left-column --suppress-common-lines --show-c-function "
    "--show-function-line= --label= --expand-tabs --initial-tab --tabsize= --suppress-blank-empty --recursive "
    "--no-dereference --new-file --unidirectional-new-file --ignore-file-name-case --no-ignore-file-name-case "
    "--exclude= "
    "--exclude-from= --starting-file= --from-file= --to-file= --ignore-case --ignore-tab-expansion "
    "--ignore-trailing-space --ignore-space-change --ignore-all-space --ignore-blank-lines --ignore-matching-lines= "
    "--text --strip-trailing-cr --ifdef= --minimal --horizon-lines= --speed-large-files --color=? --palette= --help "
    "--version"
)
_JQ = (
    "-cnesrRCMSajh -f: -L: --compact-output --null-input --exit-status --slurp --raw-output --raw-input --color-output "
    "--monochrome-output --sort-keys --ascii-output --join-output --tab --indent= --unbuffered --stream --seq --args "
    "--jsonargs --help --version"
)

_SHORT: Mapping[str, str] = {
    "ls": "-aAbBcCdDfFgGhHiklLmnNopqQrRsStuUvxXZ1 -I: -T: -w: --all --almost-all --author --escape --block-size= "
    "--ignore-backups --color=? --directory --dired --classify=? --file-type --format= --full-time "
    "--group-directories-first --no-group --human-readable --si --dereference-command-line "
    "--dereference-command-line-symlink-to-dir --hide= --hyperlink=? --indicator-style= --inode --ignore= --kibibytes "
    "--dereference --numeric-uid-gid --literal --hide-control-chars --show-control-chars --quote-name --quoting-style= "
    "--reverse --recursive --size --sort= --time= --time-style= --tabsize= --width= --context --zero --help --version",
    "cat": "-AbeEnstTuv --show-all --number-nonblank --show-ends --number --squeeze-blank --show-tabs "
    "--show-nonprinting --help --version",
    "head": "-qvz -# -c: -n: --bytes= --lines= --quiet --silent --verbose --zero-terminated --help --version",
    "tail": "-fFqvz -# -c: -n: -s: --bytes= --follow=? --lines= --max-unchanged-stats= --pid= --quiet --silent --retry "
    "--sleep-interval= --verbose --zero-terminated --help --version",
    "wc": "-cmlLw --bytes --chars --lines --files0-from= --max-line-length --words --help --version",
    "stat": "-Lft -c: --dereference --file-system --cached= --format= --printf= --terse --help --version",
    "du": "-0abcDHhkLlmPSsx -B: -d: -t: -X: --null --all --apparent-size --block-size= --bytes --total "
    "--dereference-args --max-depth= --files0-from= --human-readable --inodes --dereference --count-links "
    "--no-dereference --separate-dirs --si --summarize --threshold= --time=? --time-style= --exclude-from= --exclude= "
    "--one-file-system --help --version",
    "df": "-ahHiklPTv -B: -t: -x: --all --block-size= --human-readable --si --inodes --local --no-sync --output=? "
    "--portability --total --type= --print-type --exclude-type= --help --version",
    "cmp": "-blsv -i: -n: --print-bytes --ignore-initial= --verbose --bytes= --quiet --silent --help --version",
    "cut": "-nsz -b: -c: -d: -f: --bytes= --characters= --delimiter= --fields= --complement --only-delimited "
    "--output-delimiter= --zero-terminated --help --version",
    "basename": "-az -s: --multiple --suffix= --zero --help --version",
    "dirname": "-z --zero --help --version",
    "realpath": "-emLPqsz --canonicalize-existing --canonicalize-missing --logical --physical --quiet --relative-to= "
    "--relative-base= --strip --no-symlinks --zero --help --version",
    "readlink": "-femnqsvz --canonicalize --canonicalize-existing --canonicalize-missing --no-newline --quiet --silent "
    "--verbose --zero --help --version",
    "tr": "-cCdst --complement --delete --squeeze-repeats --truncate-set1 --help --version",
    "nl": "-p -b: -d: -f: -h: -i: -l: -n: -s: -v: -w: --body-numbering= --section-delimiter= --footer-numbering= "
    "--header-numbering= --line-increment= --join-blank-lines= --number-format= --no-renumber --number-separator= "
    "--starting-line-number= --number-width= --help --version",
    "fold": "-bs -w: --bytes --spaces --width= --help --version",
    "tac": "-br -s: --before --regex --separator= --help --version",
    "paste": "-sz -d: --delimiters= --serial --zero-terminated --help --version",
    "comm": "-123z --check-order --nocheck-order --output-delimiter= --total --zero-terminated --help --version",
    "join": "-iz -a: -e: -j: -o: -t: -v: -1: -2: --ignore-case --check-order --nocheck-order --header "
    "--zero-terminated --help --version",
    "od": "-abcdfilosxv -A: -j: -N: -S: -t: -w? --address-radix= --endian= --skip-bytes= --read-bytes= --format= "
    "--output-duplicates --width=? --help --version",
    "seq": "-w -# -f: -s: --format= --separator= --equal-width --help --version",
    "base64": "-di -w: --decode --ignore-garbage --wrap= --help --version",
    "sort": "-bdfgiMhnRrVcCmsuz -k: -S: -t: --ignore-leading-blanks --dictionary-order --ignore-case "
    "--general-numeric-sort --ignore-nonprinting --month-sort --human-numeric-sort --numeric-sort --random-sort "
    "--random-source= --reverse --sort= --version-sort --batch-size= --check=? --debug --files0-from= --key= --merge "
    "--stable --buffer-size= --field-separator= --parallel= --unique --zero-terminated --help --version",
    "expand": "-i -t: --initial --tabs= --help --version",
    "fmt": "-cstu -p: -w: -g: --crown-margin --prefix= --split-only --tagged-paragraph --uniform-spacing --width= "
    "--goal= --help --version",
    "id": "-aZgGnruz --context --group --groups --name --real --user --zero --help --version",
    "groups": "--help --version",
    "uname": "-asnrvmpio --all --kernel-name --nodename --kernel-release --kernel-version --machine --processor "
    "--hardware-platform --operating-system --help --version",
    "nproc": "--all --ignore= --help --version",
    "printenv": "-0 --null --help --version",
    "pwd": "-LP --logical --physical --help --version",  # nosec B105  # options of pwd
    "whoami": "--help --version",
    "true": "",
    "false": "",
    "cksum": "-cbtwz -a: -l: --algorithm= --length= --tag --untagged " + _SUMS,
    **dict.fromkeys(("md5sum", "sha1sum", "sha224sum", "sha256sum", "sha384sum", "sha512sum", "b2sum"), _SUMS),
}

TABLE: Mapping[str, Program] = {
    **{
        name: Program(source=_COREUTILS, anywhere=True, use=Use(options=options, looks=True))
        for name, options in _SHORT.items()
    },
    "uniq": Program(
        source=_COREUTILS + ": a second operand is written",
        anywhere=True,
        use=Use(
            options="-cdDiuz -# -f: -s: -w: --count --repeated --all-repeated=? --skip-fields= --group=? --ignore-case "
            "--skip-chars= --unique --zero-terminated --check-chars= --help --version",
            most=1,
            looks=True,
        ),
    ),
    "date": Program(
        source=_COREUTILS + ": -s and an operand without + set the clock",
        anywhere=True,
        use=Use(
            options="-RuI? -d: -f: -r: --date= --debug --file= --iso-8601=? --resolution --rfc-email --rfc-3339= "
            "--reference= --utc --universal --help --version",
            operands="format",
            looks=True,
        ),
    ),
    **dict.fromkeys(
        ("echo", "test", "[", "sleep"),
        Program(source=_COREUTILS + ": no option does more", anywhere=True, use=Use(options="*", looks=True)),
    ),
    "printf": Program(source=_COREUTILS + "; bash's own has -v", anywhere=True, use=Use(looks=True)),
    "cd": Program(source="bash(1)", anywhere=True, use=Use(options="-LPe")),
    "grep": Program(source="GNU grep 3.8, `info grep`", anywhere=True, use=Use(options=_GREP, looks=True)),
    "egrep": Program(source="GNU grep 3.8, `info grep`", anywhere=True, use=Use(options=_GREP, looks=True)),
    "fgrep": Program(source="GNU grep 3.8, `info grep`", anywhere=True, use=Use(options=_GREP, looks=True)),
    "rg": Program(
        source="ripgrep 13, rg(1): --pre, --hostname-bin and -z run programs",
        anywhere=True,
        use=Use(options=_RIPGREP, looks=True),
    ),
    "find": Program(
        source="GNU findutils 4.9, find(1): -exec, -ok, -delete, -fls and -fprint do more",
        anywhere=True,
        use=Use(options=_FIND, words=True, looks=True),
    ),
    "diff": Program(source="GNU diffutils 3.8: -l runs pr", anywhere=True, use=Use(options=_DIFF, looks=True)),
    "jq": Program(source="jq 1.6, jq(1)", anywhere=True, use=Use(options=_JQ, looks=True)),
    "sed": Program(
        source="GNU sed 4.9, `info sed`: -i, -s with w, and the commands e and w do more",
        anywhere=True,
        use=Use(
            options="-nErsuz -e: -l: --quiet --silent --regexp-extended --separate --unbuffered --null-data "
            "--expression= "
            "--line-length= --posix --sandbox --help --version",
            first="sed",
            values={"-e": "sed", "--expression": "sed"},
            looks=True,
        ),
    ),
    **dict.fromkeys(
        ("awk", "gawk", "mawk"),
        Program(
            source="gawk(1), mawk(1): system(), print > and | do more, and so do -f, -i, -l, -o, -d, -p and -E",
            anywhere=True,
            use=Use(options="-F: -v: --field-separator=", first="awk", looks=True),
        ),
    ),
    "file": Program(
        source="file(1) 5.44: -C writes, -z unpacks by other programs",
        anywhere=True,
        use=Use(
            options="-bikLhNn0rv -F: --brief --mime --mime-type --mime-encoding --keep-going --dereference "
            "--no-dereference --no-pad --print0 --raw --separator= --help --version",
            looks=True,
        ),
    ),
    "tree": Program(
        source="tree(1) 2.1: -o writes, -R writes pages",
        anywhere=True,
        use=Use(
            options="-adflxqNQpugshDFirtcUnCASJX -L: -P: -I: --noreport --dirsfirst --du --si --prune --filelimit= "
            "--gitignore --help --version",
            looks=True,
        ),
    ),
    **dict.fromkeys(
        ("which", "nm", "size", "readelf"),
        Program(
            source="which(1), binutils 2.40: plugins of nm only by --plugin, also from an `@file`",
            anywhere=True,
            use=Use(options="-aghnpruSsdlWACDet --help --version", operands="text", looks=True),
        ),
    ),
    "xxd": Program(
        source="xxd(1): a second operand is written, -r writes",
        anywhere=True,
        use=Use(options="-abCEeiupv -c: -g: -l: -n: -o: -s:", most=1, looks=True),
    ),
    **dict.fromkeys(
        ("hexdump", "hd"),
        Program(
            source="hexdump(1), util-linux 2.38",
            anywhere=True,
            use=Use(options="-bcCdoxvhV -e: -f: -n: -s: --canonical --no-squeezing --help --version", looks=True),
        ),
    ),
    "ps": Program(
        source="ps(1), procps 4.0",
        anywhere=True,
        use=Use(options="-AadefFlHjLmTwy -C: -o: -p: -u: -U: -g: -t:", looks=True),
    ),
    "free": Program(
        source="free(1)", anywhere=True, use=Use(options="-bkmghltvw -s: -c: --human --si --total", looks=True)
    ),
    "uptime": Program(source="uptime(1)", anywhere=True, use=Use(options="-psV --pretty --since", looks=True)),
    "tar": Program(
        source="GNU tar 1.34, `info tar`: all but -t writes; many options name a program; `-f host:x` connects",
        anywhere=True,
        use=Use(
            options="-tvzjJ -f: --list --verbose --file= --exclude= --help --version",
            bundle=True,
            values={"-f": "local", "--file": "local"},
            looks=True,
        ),
    ),
}
