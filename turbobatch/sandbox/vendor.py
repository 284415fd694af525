"""The vendor behind the API: judges a request, keeps what it accepts, and tells which fault to play."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from turbobatch.sandbox import rules
from turbobatch.sandbox.faults import FaultKind
from turbobatch.sandbox.inbox.entry import cut, entry_of, refusal_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.sandbox.faults import Fault, FaultPlan
    from turbobatch.sandbox.office import Office
    from turbobatch.sandbox.store import MessageStore


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP status and its JSON body, and the fault that is to spoil them, if any."""

    status: int
    body: dict[str, Any]
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class SendRequest:
    """A POST to /mail/send, read: its fields, its size in bytes, where it may hold credentials."""

    api: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    fields: Mapping[str, Any]
    size: int


class Vendor:
    """One account at a stand-in for the vendor. Only the server's thread calls `answer`."""

    def __init__(
        self,
        store: MessageStore,
        account: rules.Account,
        plan: FaultPlan,
        office: Office,
        *,
        nocredit_after: int | None = None,
        v1_error_status: int = 400,
    ) -> None:
        self.store = store
        self.office = office
        self.plan = plan
        self.requests = self.refused = self.failed = self.cleared = 0
        self._account = account
        self._credit = nocredit_after
        self._v1_error_status = v1_error_status
        self._accepted = 0
        self._mid = 0

    def answer(self, request: SendRequest) -> Answer:
        """Judge a request as the vendor does; what came of it is in the store before this returns."""
        answer = self._judged(request)
        if answer.body.get("message") != "OK":
            self._note(request.api, request.fields, request.size, answer)
        return answer

    def unreadable(self, api: str, *errors: str) -> Answer:
        """Refuse a request whose fields can't be read."""
        answer = self.refusal(api, *errors)
        self._note(api, {}, 0, answer)
        return answer

    def _judged(self, request: SendRequest) -> Answer:
        try:
            auth_in = self._authenticate(request)
        except rules.Refused as refusal:
            return _denial(refusal)
        if self._credit is not None and self._accepted >= self._credit:
            return self.refusal(request.api, "nocredit")
        fault = self.plan.next(request.fields.get("to"))
        if fault and fault.kind is FaultKind.REJECT:
            return self.refusal(request.api, "rejected on demand")
        if fault and not fault.kind.accepts:
            return Answer(200, {}, fault)
        fields = rules.blacked_out(request.fields)
        try:
            rules.check_size(request.api, request.size)
            message = rules.read(request.api, fields)
        except rules.Refused as refusal:
            return self.refusal(request.api, *refusal.errors)
        mid = self._accept(message, replace(request, fields=fields), auth_in, fault)
        return Answer(200, {"message": "OK"} if request.api == "v1" else {"message": "OK", "mid": mid}, fault)

    def denial(self, headers: Mapping[str, str]) -> Answer | None:
        """The answer to a management call whose credentials are missing or wrong; None where they are right."""
        try:
            self._account.auth_v2(headers)
        except rules.Refused as refusal:
            return _denial(refusal)
        return None

    def refusal(self, api: str, *errors: str) -> Answer:
        """The API's error answer. v1's status is not documented, so it can be set."""
        status = self._v1_error_status if api == "v1" else 400
        return Answer(status, {"message": "error", "errors": list(errors)})

    def message(self, number: int) -> dict[str, Any] | None:
        """Everything about one accepted message as a JSON-able dict; None if there is none of that id."""
        found = self.store.get(number)
        if found is None:
            return None
        summary, fields = found
        return {**summary, **rules.read(summary["api"], fields).detail(), "fields": fields}

    def raw(self, number: int) -> bytes | None:
        """The raw MIME source of one accepted message; None if there is none of that id."""
        found = self.store.get(number)
        if found is None:
            return None
        summary, fields = found
        return rules.read(summary["api"], fields).raw(summary["mid"], datetime.fromisoformat(summary["time"]))

    def list_all(self) -> None:
        """Enter into the inbox's list what an earlier version has left in the store without an entry."""
        for number in self.store.unlisted():
            found = self.store.get(number)
            if found is not None:
                summary, fields = found
                with contextlib.suppress(rules.Refused):  # by this version's rules
                    message = rules.read(summary["api"], fields)
                    entry = entry_of(message, mid=summary["mid"], time=summary["time"], size=summary["size"])
                    self.store.enlist(number, entry)

    def clear(self) -> None:
        """Forget messages, counts, used credit and the faults that were met."""
        self.store.clear()
        self.office.clear()
        self.requests = self.refused = self.failed = self._accepted = 0
        self.plan.reset()
        self.cleared += 1

    def _authenticate(self, request: SendRequest) -> str:
        if request.api == "v1":
            return self._account.auth_v1(request.headers, request.fields, request.query)
        return self._account.auth_v2(request.headers)

    def _accept(self, message: rules.Message, request: SendRequest, auth_in: str, fault: Fault | None) -> int:
        self._mid = max(self._mid + 1, time.time_ns())  # like the vendor's: 64 bits, rising, never the same twice
        summary = {
            "mid": str(self._mid),
            "time": _now(),
            **message.summary(),
            "size": request.size,
            "auth_in": auth_in,
        }
        kind = fault.kind if fault else ""
        entry = entry_of(message, mid=summary["mid"], time=summary["time"], size=request.size, fault=kind)
        self.store.add(summary, request.fields, entry)
        self._accepted += 1
        return self._mid

    def _note(self, api: str, fields: Mapping[str, Any], size: int, answer: Answer) -> None:
        """Keep a request that was not accepted."""
        if answer.fault:
            self.failed += 1
        else:
            self.refused += 1
        fields = cut(rules.blacked_out(fields))
        errors = answer.body.get("errors") or [text for text in [answer.body.get("message")] if text]
        fault, status = (answer.fault.kind, 0) if answer.fault else ("", answer.status)
        entry = refusal_entry(api, fields, time=_now(), size=size, fault=fault, status=status, errors=errors)
        self.store.add_refusal(fields, entry)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _denial(refusal: rules.Refused) -> Answer:
    details = "See the API's page on authentication."
    return Answer(401, {"errorCode": 3, "message": refusal.errors[0], "details": details})
