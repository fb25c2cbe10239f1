"""Skills: instructions with files for kinds of tasks, in the open Agent Skills format."""
