"""Ingress: what verified requests lead to (`intake`), their reception (`receiving`), and the loops that fetch them."""
