"""The daemon's records: the write-ahead log, journals, Records and the index."""
