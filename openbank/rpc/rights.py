"""The right of a caller to its watch: it ends with the token, and where a new access file or key set takes it away."""

from __future__ import annotations

from openbank.access.caller import Caller
from openbank.access.errors import PermissionMissing
from openbank.access.gate import Gate
from openbank.access.roles import ACTORS_READ
from openbank.rpc.call import Call


class CallersRight:
    """Asks the gate again after each change. The caller may be another then, with other rights and another end."""

    def __init__(self, gate: Gate, call: Call, caller: Caller) -> None:
        self._gate = gate
        self._call = call
        self._caller = caller
        self._generation = -1
        """That of the caller; none at first, as there may have been a change since the call began."""

    def check(self) -> None:
        """Raises TokenExpired, TokenInvalid, TokenMissing, PermissionMissing."""
        if self._generation != self._gate.generation:
            generation = self._gate.generation
            self._caller = self._gate.admit_again(self._call)
            permission = self._call.method.permission
            # What the watch sends is decided when it begins.
            if self._caller.scope(permission) != self._call.owner:
                raise PermissionMissing(permission)
            if self._call.shows_actors and not self._caller.sees_actors:
                raise PermissionMissing(ACTORS_READ)
            self._generation = generation
        self._gate.check_time(self._caller)

    def seconds_left(self) -> float:
        return self._gate.seconds_left(self._caller) if self._generation == self._gate.generation else 0.0


def right_of(gate: Gate | None, call: Call) -> CallersRight | None:
    """None where there is no access file, and so no end."""
    if gate is None or call.caller is None:
        return None
    return CallersRight(gate, call, call.caller)
