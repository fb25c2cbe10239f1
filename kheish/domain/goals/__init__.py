"""Goals: the value and its fold in `goal`, the next step in `rules`, what users and agents change in `verbs`."""
