"""The v2 API's other calls, beside the send hosts: analytics, suppressions and address validation.

`answers` has the data and reads them from whatever comes; `calls` fetches them.
"""

from __future__ import annotations

from turbobatch.management.answers import (
    ANALYTICS_FILTERS,
    ANALYTICS_STATUSES,
    SUPPRESSION_SOURCES,
    AnalyticsRow,
    SuppressedAddress,
    SuppressionImport,
    Validation,
    ValidationList,
)
from turbobatch.management.calls import MANAGEMENT_URL, Management

__all__ = [
    "ANALYTICS_FILTERS",
    "ANALYTICS_STATUSES",
    "MANAGEMENT_URL",
    "SUPPRESSION_SOURCES",
    "AnalyticsRow",
    "Management",
    "SuppressedAddress",
    "SuppressionImport",
    "Validation",
    "ValidationList",
]
