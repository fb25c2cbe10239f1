"""Files of a project that speak to agents: where they are looked for, and its instructions."""
