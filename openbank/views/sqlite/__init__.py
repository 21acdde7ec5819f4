"""The embedded views: one SQLite file, one process.

`views` is the port, `writer` what changes the file, `rows` what is in its tables and back, `schema` the file itself,
`views_file` the views as `verify` reads them, `made` those that it rebuilds.
"""

from openbank.views.sqlite.made import MadeViews
from openbank.views.sqlite.schema import FILE
from openbank.views.sqlite.views import SqliteViews
from openbank.views.sqlite.views_file import SLICE, SqliteViewsFile

__all__ = ["FILE", "SLICE", "MadeViews", "SqliteViews", "SqliteViewsFile"]
