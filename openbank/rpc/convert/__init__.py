"""The contract's messages to what the bank works with, and back.

What is read is checked: whatever is wrong with a request is found in one go, field by field. Messages are filled by
assignment: building nested ones from keywords takes five times as long.
"""
