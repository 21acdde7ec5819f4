"""Answers as tables for people and as JSON, JSON lines or CSV for programs.

- JSON is the response as protobuf writes it, with the names of the proto files; a list has all its pages in one.
- JSON lines has the resource, or each resource of a list, as one object a line.
- CSV has a row for each, with a column for every field.
- A table has the most important fields of a list, or all fields of one resource.
"""
