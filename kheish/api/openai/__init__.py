"""The entrance of the OpenAI-compatible endpoint."""
