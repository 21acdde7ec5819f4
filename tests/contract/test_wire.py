"""Money and Date are google.type's on the wire, so that callers may use either."""

from google.type import date_pb2 as google_date_pb2
from google.type import money_pb2 as google_money_pb2
from hypothesis import given
from hypothesis import strategies as st

from openbank.common.v1 import date_pb2, money_pb2

INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)


@given(st.text("ABCXYZ", max_size=3), INT64, INT32)
def test_money_is_wire_compatible_with_google_type_money(code: str, units: int, nanos: int) -> None:
    ours = money_pb2.Money(currency_code=code, units=units, nanos=nanos)
    theirs = google_money_pb2.Money(currency_code=code, units=units, nanos=nanos)
    assert ours.SerializeToString() == theirs.SerializeToString()
    assert money_pb2.Money.FromString(theirs.SerializeToString()) == ours


@given(INT32, INT32, INT32)
def test_date_is_wire_compatible_with_google_type_date(year: int, month: int, day: int) -> None:
    ours = date_pb2.Date(year=year, month=month, day=day)
    theirs = google_date_pb2.Date(year=year, month=month, day=day)
    assert ours.SerializeToString() == theirs.SerializeToString()
    assert date_pb2.Date.FromString(theirs.SerializeToString()) == ours
