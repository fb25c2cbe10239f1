#!/usr/bin/env python3
"""PreToolUse, matcher Bash: rewrite `pytest` into a quiet call. The new arguments are judged like any others."""

import json
import sys

asked = json.load(sys.stdin)
command = asked["tool_input"]["command"]
if command.startswith("pytest") and " -q" not in command:
    answer = {"hookEventName": "PreToolUse", "updatedInput": {**asked["tool_input"], "command": f"{command} -q"}}
    print(json.dumps({"hookSpecificOutput": answer}))
