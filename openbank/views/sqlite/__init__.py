"""The embedded views: one SQLite file, one process.

`views` is the port, `reads` its questions, `connections` those to the file, `writer` what changes it, `rows` what is in
its tables and back, `schema` the file itself, `rebuilds` a second file that takes its place, `views_file` the views as
`verify` reads them, `made` those that it rebuilds.
"""

from openbank.views.sqlite.made import MadeViews
from openbank.views.sqlite.rebuilds import NEXT_FILE, SqliteRebuilds
from openbank.views.sqlite.schema import FILE
from openbank.views.sqlite.views import SqliteViews
from openbank.views.sqlite.views_file import SLICE, SqliteViewsFile

__all__ = ["FILE", "NEXT_FILE", "SLICE", "MadeViews", "SqliteRebuilds", "SqliteViews", "SqliteViewsFile"]
