"""What one caller can do to the others: the worst stall of a health check meanwhile."""
