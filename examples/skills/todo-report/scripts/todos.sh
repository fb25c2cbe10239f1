#!/bin/sh
# Print the TODO and FIXME comments below a folder, with file and line.
grep -rnE --exclude-dir=.git '(TODO|FIXME)' "${1:-.}" || echo "Nothing is left to do."
