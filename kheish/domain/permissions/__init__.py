"""Rules about tool calls: what is allowed, asked for, or denied."""
