"""Memory: Markdown files of users and agents, the ledger of their origins, proposals, and records of runs."""
