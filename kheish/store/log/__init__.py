"""The write-ahead log, journals, Records and the index: what the daemon writes down."""
