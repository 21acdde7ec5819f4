"""Money and Date are google.type's on the wire, and what the client reads of an error is google.rpc's."""

from google.rpc import error_details_pb2, status_pb2
from google.type import date_pb2 as google_date_pb2
from google.type import money_pb2 as google_money_pb2
from hypothesis import given
from hypothesis import strategies as st

from openbank.client import status_details
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


@given(st.text(), st.dictionaries(st.text(), st.text()), st.lists(st.text(), min_size=3, max_size=3), INT64, INT32)
def test_the_client_reads_errors_as_google_rpc_messages(
    reason: str, metadata: dict[str, str], violation: list[str], seconds: int, nanos: int
) -> None:
    field, description, why = violation
    status = status_pb2.Status(code=9, message="no")
    theirs = (
        error_details_pb2.ErrorInfo(reason=reason, domain="openbank", metadata=metadata),
        error_details_pb2.BadRequest(field_violations=[{"field": field, "description": description, "reason": why}]),
        error_details_pb2.RetryInfo(retry_delay={"seconds": seconds, "nanos": nanos}),
    )
    for detail in (*theirs, error_details_pb2.Help()):
        status.details.add().Pack(detail)
    kinds = (status_details.ErrorInfo, status_details.BadRequest, status_details.RetryInfo)
    ours = status_details.details(status.SerializeToString(), *kinds)
    assert [type(detail).FromString(ours.SerializeToString()) for detail, ours in zip(theirs, ours, strict=True)] == [
        *theirs
    ]
