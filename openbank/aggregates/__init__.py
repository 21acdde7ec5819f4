"""Persons and accounts as commands see them: state folded from events, decisions, and the queue of each."""
