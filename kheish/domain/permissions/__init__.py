"""Rules about tool calls: allow, ask, or deny."""
