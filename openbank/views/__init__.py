"""What queries read: persons, accounts and their events, projected from the log; derived, and rebuilt at will."""
