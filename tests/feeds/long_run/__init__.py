"""Watches of every kind, held against the log for as long as one likes, while everything under them breaks."""
