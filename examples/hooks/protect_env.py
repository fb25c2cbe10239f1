#!/usr/bin/env python3
"""PreToolUse, matcher Edit|Write: deny writes to .env files, with the public JSON on stderr and exit status 2."""

import json
import os
import sys

given = json.load(sys.stdin)["tool_input"]
paths = [given["file_path"]] if "file_path" in given else []
for line in given.get("command", "").splitlines():  # a patch: `*** Update File: .env`
    if line.startswith("*** ") and ": " in line:
        paths.append(line.partition(": ")[2].strip())
for path in paths:
    if not os.path.basename(path).startswith(".env"):
        continue
    answer = {
        "hookEventName": "PreToolUse",
        "permissionDecision": "deny",
        "permissionDecisionReason": f"{path} holds secrets; ask a person to change it",
    }
    print(json.dumps({"hookSpecificOutput": answer}), file=sys.stderr)
    sys.exit(2)
