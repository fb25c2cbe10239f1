"""Makes words fit for addresses."""


def slug(text):
    return "-".join(text.lower().split())
