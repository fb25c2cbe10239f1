"""One table per program: which options and subcommands do no more than they seem."""
