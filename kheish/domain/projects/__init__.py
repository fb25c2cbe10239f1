"""Projects: the file in `definition`, the values and folds in `project` and `task`, changes by callers in `verbs` and
`claims`, what follows from runs in `following`."""
