"""Mailboxes: an agent's durable inbox of typed messages. It may import nouns of the domain below it."""
