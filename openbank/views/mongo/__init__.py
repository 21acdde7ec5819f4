"""The views on MongoDB, through motor: for any number of instances."""

from openbank.views.mongo.views import MongoViews

__all__ = ["MongoViews"]
