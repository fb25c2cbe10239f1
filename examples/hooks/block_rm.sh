#!/bin/sh
# PreToolUse, matcher Bash: refuse `rm -rf`. Exit status 2 blocks, and the model reads the reason on stderr.
command=$(python3 -c 'import json, sys; print(json.load(sys.stdin)["tool_input"].get("command", ""))')
case "$command" in
  *"rm -rf"* | *"rm -fr"*)
    echo "rm -rf is not allowed here; move the files to .trash/ instead" >&2
    exit 2 ;;
esac
