"""The conversation on a terminal: line editor, status line, Markdown, folded output, prompts in place.

The modules above import this package only when a terminal can show it, since prompt_toolkit and rich take long to load.
"""
