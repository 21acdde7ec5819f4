"""Which events are believed: the rule, a checker for each follower of the log, and the quarantine of aggregates."""
