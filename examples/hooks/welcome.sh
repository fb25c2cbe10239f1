#!/bin/sh
# SessionStart: plain text on stdout is context for the model.
echo "The release branch is frozen until Friday; change nothing in release/."
