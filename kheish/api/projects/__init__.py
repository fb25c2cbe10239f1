"""Projects by HTTP: `resource` has their files and state, `tasks` their tasks and the board, `bodies` the requests."""
