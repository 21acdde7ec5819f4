"""Movements, statements and balances, between protobuf and domain."""

from __future__ import annotations

from openbank.accounts.v1 import accounts_service_pb2 as messages
from openbank.domain.errors import InvalidFields, Violation
from openbank.domain.fields import EXTERNAL_REFERENCE_LENGTH_MAX, Fields
from openbank.domain.money import Money
from openbank.domain.tags import Label
from openbank.eventstore.port import show_uuid
from openbank.queries.statements import Balance, RevisionPeriod, Statement, TimePeriod
from openbank.rpc.convert.accounts import EVENTS
from openbank.rpc.convert.tags import fill_tags
from openbank.rpc.convert.values import fill_money, fill_time, read_time
from openbank.views.port import Movement, MovementFilter


def read_filter(fields: Fields, message: messages.ListMovementsRequest, own: bool) -> MovementFilter:
    """A caller that may read its `own` only has to say of which account."""
    reference = fields.text("external_reference", message.external_reference, EXTERNAL_REFERENCE_LENGTH_MAX)
    account_id = fields.identifier("account_id", message.account_id, required=own or not reference)
    label = fields.label("label", Label(message.label.key, message.label.value)) if message.HasField("label") else None
    return MovementFilter(account_id, reference, label)


def read_period(fields: Fields, message: messages.GetAccountStatementRequest) -> TimePeriod | RevisionPeriod:
    if message.HasField("revisions"):
        return _read_revisions(fields, message.revisions)
    if not message.HasField("times"):
        fields.refuse("period", "FIELD_REQUIRED", "is required: times or revisions")
        return RevisionPeriod(1, 1)
    wrong = len(fields.violations)
    for name in ("start_time", "end_time"):
        if not message.times.HasField(name):
            fields.refuse(f"times.{name}", "FIELD_REQUIRED", "is required")
    start = read_time(fields, "times.start_time", message.times.start_time)
    end = read_time(fields, "times.end_time", message.times.end_time)
    if end <= start and len(fields.violations) == wrong:
        fields.refuse("times.end_time", "INVALID_PERIOD", "must be after start_time")
    return TimePeriod(start, end)


def _read_revisions(fields: Fields, message: messages.RevisionPeriod) -> RevisionPeriod:
    first, last = message.first_revision, message.last_revision
    if first < 1:
        fields.refuse("revisions.first_revision", "INVALID_PERIOD", "must be 1 or more: revisions start at 1")
    if last < max(first, 1):
        fields.refuse("revisions.last_revision", "INVALID_PERIOD", "must not be below first_revision")
    return RevisionPeriod(first, last)


def read_moment(fields: Fields, message: messages.GetAccountBalanceRequest) -> tuple[int | None, int]:
    """A time or None, and a revision."""
    if message.HasField("time"):
        time = read_time(fields, "time", message.time)
        # `read_time` takes the later microsecond of a time between two. An event then is after the time.
        return time - bool(message.time.nanos % 1000), 0
    if not message.HasField("revision"):
        fields.refuse("at", "FIELD_REQUIRED", "is required: time or revision")
    elif message.revision < 1:
        fields.refuse("revision", "INVALID_PERIOD", "must be 1 or more: revisions start at 1")
    return None, message.revision


def fill_statement(response: messages.GetAccountStatementResponse, statement: Statement) -> None:
    """All but the entries."""
    account, opening, closing, complete, _, token = statement
    response.account_number = account.account_number
    response.owner_id = account.owner_id
    response.currency_code = account.currency.code
    before = (opening.balance.minor, opening.credits, opening.debits, opening.entries) if opening else (0, 0, 0, 0)
    after = (closing.balance.minor, closing.credits, closing.debits, closing.entries) if closing else before
    try:
        fill_money(response.opening_balance, account.money(before[0]))
        fill_money(response.closing_balance, account.money(after[0]))
        fill_money(response.total_credits, account.money(after[1] - before[1]))
        fill_money(response.total_debits, account.money(after[2] - before[2]))
    except ValueError:
        message = "the totals are more than an amount can state: ask for a shorter period"
        raise InvalidFields([Violation("period", "INVALID_PERIOD", message, {})]) from None
    response.entry_count = after[3] - before[3]
    first, last = opening.revision if opening else 0, closing.revision if closing else 0
    if last > first:
        response.first_revision, response.last_revision = first + 1, last
    response.next_page_token = token
    response.complete = complete


def fill_entry(message: messages.StatementEntry, movement: Movement) -> None:
    entry = movement.entry
    message.revision = movement.revision
    message.event_id = show_uuid(movement.event_id)
    fill_time(message.record_time, movement.time)
    message.type = EVENTS.number(movement.type)  # type: ignore[assignment]
    fill_money(message.amount, entry.amount)
    fill_money(message.balance_after, movement.balance_after)
    message.description = entry.description
    message.transfer_id = entry.transfer_id
    message.counterparty_account_id = entry.counterparty_account_id
    message.hold_id = entry.hold_id
    fill_tags(message, entry.tags)


def fill_balance(response: messages.GetAccountBalanceResponse, balance: Balance) -> None:
    account, standing = balance
    nothing = Money(account.currency, 0)
    fill_money(response.balance, standing.balance if standing else nothing)
    fill_money(response.available_balance, standing.available if standing else nothing)
    if standing:
        response.revision = standing.revision
        fill_time(response.record_time, standing.time)
