"""HTTP for every endpoint: authentication, bodies, pages, problems, streams, the description. It depends on no noun."""
