"""A copy of a database, to replace it with an older one of itself while it is used."""

from typing import Any

from pymongo.database import Database

Documents = Database[dict[str, Any]]


def copy_of(documents: Documents) -> dict[str, list[dict[str, Any]]]:
    return {name: list(documents[name].find()) for name in documents.list_collection_names()}


def put_back(documents: Documents, kept: dict[str, list[dict[str, Any]]]) -> None:
    """Without a moment at which `openbank_views` is missing, which would be another fault."""
    for name in documents.list_collection_names():
        for document in kept.get(name, []):
            documents[name].replace_one({"_id": document["_id"]}, document, upsert=True)
        documents[name].delete_many({"_id": {"$nin": [document["_id"] for document in kept.get(name, [])]}})
