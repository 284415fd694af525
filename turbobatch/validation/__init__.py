"""The vendor's judgement of addresses before anything is sent to them: asked for once, paid for once, kept for a while.

`store` keeps what was judged, `asking` has the vendor judge the rest, `validating` makes a check's problems of it.
"""

from turbobatch.validation.asking import ListGoesOn
from turbobatch.validation.store import KEPT, KEPT_UNKNOWN, Need
from turbobatch.validation.validating import Validating, account

__all__ = ["KEPT", "KEPT_UNKNOWN", "ListGoesOn", "Need", "Validating", "account"]
