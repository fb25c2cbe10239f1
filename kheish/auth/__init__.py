"""Who may do what, with which credential. May import: domain, store, errors, ids, resources."""
