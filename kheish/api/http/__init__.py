"""HTTP as every endpoint has it: who calls, bodies, pages, problems, streams, the description; it knows no noun."""
