"""MCP servers by HTTP."""
