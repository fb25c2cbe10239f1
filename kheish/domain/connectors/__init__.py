"""Connectors: the file (`definition`), keys and matching (`templates`), receipts and bindings (`receipt`), the state of
a connector (`connector`), the buttons of approvals and questions (`ask`)."""
