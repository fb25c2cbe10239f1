"""Makes words fit for addresses. 2.0: slug() is slugify() now, and takes a separator."""


def slugify(text, *, separator="-"):
    return separator.join(text.lower().split())
