"""Running commands as processes; this package is independent of everything else. May import: errors, ids, resources."""
