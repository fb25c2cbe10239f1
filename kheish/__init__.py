"""Kheish runs AI agents as durable services; all its state is plain files in a git repository.

The layers, from the top: cli → client; daemon → api → connectors | runtime → auth → domain → store | jobs.
`docs/architecture.md` says why, `docs/glossary.md` what the words mean.
"""
