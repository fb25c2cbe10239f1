"""MCP servers as tools of agents: connections, cleaned lists, calls, and what servers ask of users.

Everything that needs the SDK imports it inside of functions or in modules that only `sdk.load` brings in: a daemon
without MCP servers never loads it.
"""
