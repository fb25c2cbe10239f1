#!/bin/sh
# Stop: do not let the agent finish before REPORT.md exists.
if [ ! -e "$CLAUDE_PROJECT_DIR/REPORT.md" ]; then
  echo '{"decision": "block", "reason": "Write REPORT.md first: what you did, and what is left."}'
fi
