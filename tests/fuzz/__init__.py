"""Every endpoint, asked what nobody would ask: schemathesis over the OpenAPI description, against a real daemon."""
