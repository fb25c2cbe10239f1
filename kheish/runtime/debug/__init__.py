"""Debug capture: the model requests, provider events, hook and MCP exchanges of runs, for a look at them later."""
