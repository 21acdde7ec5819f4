"""From what a call brings along to its caller: the policy in force, and the tokens that were verified."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from openbank.access.caller import Caller, Credentials
from openbank.access.errors import TokenExpired, TokenInvalid, TokenMissing
from openbank.access.keys import PREFIX, id_of, is_key
from openbank.access.policy import Policy
from openbank.access.rates import Rates
from openbank.domain.clock import Clock
from openbank.extras import needs

if TYPE_CHECKING:
    from openbank.access.key_sets import Fetch, KeySet
    from openbank.access.web_tokens import WebTokens

TOKEN_LENGTH_MAX = 8_000
"""More than any token that gRPC's limit for metadata lets through."""
VERIFIED_MAX = 10_000
"""Keys and tokens that are remembered once they were verified, about 2 KB each."""
LOOK_SECONDS = 1.0
"""How often the key sets are looked at: whether one is due."""

Admitted = Caller | Coroutine[Any, Any, Caller]


class Gate:
    """Tells callers by what they bring along. `clock` is the bank's."""

    def __init__(self, policy: Policy, clock: Clock, fetch: Fetch | None = None) -> None:
        """Raises ExtraMissing for a policy with issuers where the extra is not installed."""
        self._clock = clock
        self._fetch = fetch
        self._key_sets: dict[_Source, KeySet] = {}
        self._verified: OrderedDict[str, Caller] = OrderedDict()
        """By the key or token itself, the most recently used last. Python hashes texts with a secret of the process:
        how long it takes to find one says nothing about those that are there."""
        self._web_tokens: WebTokens | None = None
        self.rates = Rates(monotonic)
        self.generation = 0
        """Counts the changes of policy and keys. A caller that was admitted before a change may not be one any more."""
        self.on_change: Callable[[], None] = lambda: None
        self.apply(policy)

    @property
    def policy(self) -> Policy:
        return self._policy

    @property
    def key_ages(self) -> Mapping[str, float]:
        """Seconds since the keys of each issuer were last fetched, without those that never were."""
        now = monotonic()
        return {of.issuer: now - of.fetched for of in self._key_sets.values() if of.fetched is not None}

    def apply(self, policy: Policy) -> None:
        """From now on this policy counts. Raises ExtraMissing, and the old one stays."""
        web_tokens, key_sets = None, self._key_sets
        if policy.issuers:
            web_tokens, key_sets = self._web_tokens_of(policy)
        self._policy, self._web_tokens = policy, web_tokens
        for source, key_set in self._key_sets.items():
            if source not in key_sets:
                key_set.close()
        self._key_sets = key_sets
        self._changed()

    def _web_tokens_of(self, policy: Policy) -> tuple[WebTokens, dict[_Source, KeySet]]:
        with needs("auth", f"[[jwt]] in {policy.file}"):
            from openbank.access.fetching import fetch
            from openbank.access.key_sets import KeySet
            from openbank.access.web_tokens import WebTokens
        key_sets: dict[_Source, KeySet] = {}
        by_issuer: dict[str, KeySet] = {}
        for issuer in policy.issuers.values():
            source = _Source(issuer.jwks, tuple(issuer.algorithms))
            # The keys that were fetched stay, whether or not the provider answers now.
            known = self._key_sets.get(source) or key_sets.get(source)
            key_sets[source] = by_issuer[issuer.issuer] = known or KeySet(issuer, self._fetch or fetch, self._changed)
        return WebTokens(policy, by_issuer), key_sets

    def _changed(self) -> None:
        self._verified.clear()
        self.generation += 1
        self.on_change()

    async def run(self) -> None:
        """Keeps the key sets fresh until cancelled."""
        try:
            while True:
                await asyncio.gather(*(key_set.refresh_when_due() for key_set in self._key_sets.values()))
                await asyncio.sleep(LOOK_SECONDS)
        finally:
            for key_set in self._key_sets.values():
                key_set.close()

    def admit(self, credentials: Credentials) -> Admitted:
        """The caller; to be awaited where its issuer's keys are fetched first. Of a token and a certificate, the token
        counts.

        Raises TokenMissing, TokenInvalid, TokenExpired, TokenKeysUnavailable.
        """
        if credentials.authorization is not None:
            return self._by_token(credentials.authorization)
        if credentials.is_local:
            if self._policy.local is not None:
                return self._policy.local
        elif self._policy.certificates:
            names = credentials.certificate_names()
            for entry in self._policy.certificates:
                if name := entry.name_in(names):
                    return replace(entry.caller, name=f"cert:{name}")
        raise TokenMissing

    def admit_again(self, credentials: Credentials) -> Caller:
        """The caller as it is now, by the keys that are there. Raises TokenMissing, TokenInvalid, TokenExpired."""
        admitted = self.admit(credentials)
        if isinstance(admitted, Caller):
            return admitted
        # It was to wait for another fetch of the keys.
        admitted.close()
        raise TokenInvalid("is signed with an unknown key")

    def seconds_left(self, caller: Caller) -> float:
        """Until the caller's token expires."""
        return caller.expires - self._clock() / 1_000_000

    def check_time(self, caller: Caller) -> None:
        """Raises TokenExpired."""
        if self._clock() >= caller.expires * 1_000_000:
            raise TokenExpired

    def _by_token(self, authorization: str) -> Admitted:
        scheme, _, token = authorization.partition(" ")
        token = token.strip(" ")
        if scheme.lower() != "bearer" or not 0 < len(token) <= TOKEN_LENGTH_MAX or not token.isascii():
            raise TokenInvalid("is not one: send authorization: Bearer TOKEN, once")
        caller = self._verified.get(token)
        if caller is None:
            return self._verify(token)
        self._verified.move_to_end(token)
        self.check_time(caller)
        return caller

    def _verify(self, token: str) -> Admitted:
        if token.startswith(PREFIX):
            return self._remember(token, self._key_holder(token))
        try:
            return self._by_web_token(token)
        except TokenInvalid as refused:
            key_set: KeySet | None = getattr(refused, "key_set", None)
            if key_set is None or not key_set.may_ask():
                raise
        return self._with_new_keys(token, key_set)

    def _remember(self, token: str, caller: Caller) -> Caller:
        self.check_time(caller)
        self._verified[token] = caller
        if len(self._verified) > VERIFIED_MAX:
            self._verified.popitem(last=False)
        return caller

    async def _with_new_keys(self, token: str, key_set: KeySet) -> Caller:
        await key_set.ask()
        # Meanwhile there may be another policy.
        return self._by_web_token(token)

    def _by_web_token(self, token: str) -> Caller:
        if self._web_tokens is None:
            raise TokenInvalid("is not a key of this bank")
        return self._remember(token, self._web_tokens.caller(token))

    def _key_holder(self, token: str) -> Caller:
        id = id_of(token)
        key = self._policy.keys.get(id) if id else None
        if key is None or not is_key(token, key.digest):
            raise TokenInvalid("is not a key of this bank")
        return key.caller


class _Source(NamedTuple):
    """Where keys come from, and for which algorithms."""

    jwks: str
    algorithms: tuple[str, ...]
