"""The auditor's page of a Flow: its facts, as blocks, as Markdown or HTML."""
