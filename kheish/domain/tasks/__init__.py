"""Session tasks: the value and its fold in `task`, and the verbs that change tasks in `verbs`."""
