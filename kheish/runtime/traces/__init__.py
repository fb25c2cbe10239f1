"""Traces of runs: spans that follow from the journals, sent by OTLP."""
