"""Contracts: JSON Schemas that inputs and outputs must satisfy."""
