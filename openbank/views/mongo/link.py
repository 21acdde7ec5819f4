"""The views' connection to MongoDB."""

from __future__ import annotations

from openbank.mongodb.link import MongoLink, MongoUnavailable
from openbank.views.port import ViewsUnavailable


class MongoViewsUnavailable(ViewsUnavailable, MongoUnavailable):
    """For the views, and for what else uses their connection: leases, and the records of sinks."""


class ViewsLink(MongoLink):
    unavailable = MongoViewsUnavailable
