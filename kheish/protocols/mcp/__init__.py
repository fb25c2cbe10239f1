"""The daemon as an MCP server: tools, resources and tasks that stand for operations of the API."""
