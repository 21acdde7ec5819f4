"""The courier settles transfers that were interrupted."""
