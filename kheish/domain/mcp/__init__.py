"""MCP servers: their Definition, the names of their tools, and the questions that they ask."""
