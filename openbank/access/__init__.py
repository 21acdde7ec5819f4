"""Access: callers by key, certificate or token, their roles and limits, as the access file says."""
