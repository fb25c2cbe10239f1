"""The state in memory and its one write. It knows no noun: the nouns are handed in."""
