"""The agent's memory: `memory` views and changes memory files, `memory_search` searches them and the history."""
