"""What other systems see of the bank's events: a contract of its own, as CloudEvents. Domain events stay inside."""
