"""Projects as callers use them: what a change needs from memory, index and sessions, then one synchronous verb."""
