"""`df.turbobatch`: a campaign's methods on the DataFrame that is its table.

    import pandas as pd
    import turbobatch as tb

    orders = pd.read_csv("orders.csv", dtype=str)
    orders.turbobatch.check(campaign)
    results = orders.turbobatch.send(campaign, client)

It is registered when this module is imported, which turbobatch does by itself as soon as it meets pandas: when it is
imported after pandas, else when one of its names or modules is used once pandas is there. `import turbobatch.accessor`
does it at any time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from turbobatch.campaign import Campaign
    from turbobatch.client import TurboClient


@pd.api.extensions.register_dataframe_accessor("turbobatch")
class Accessor:
    """Campaign's methods, with the DataFrame as `recipients`.

    Raises:
        AttributeError: the DataFrame can't be a campaign's table: it has no columns, or their names have levels.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        if frame.shape[1] == 0 or frame.columns.nlevels > 1:
            raise AttributeError("df.turbobatch needs a DataFrame with columns whose names have one level")
        self._frame = frame

    def check(self, campaign: Campaign, **options: Any) -> pd.DataFrame:
        """See Campaign.check."""
        return campaign.check(self._frame, **options)

    def send(self, campaign: Campaign, client: TurboClient | None = None, **options: Any) -> pd.DataFrame:
        """See Campaign.send."""
        return campaign.send(self._frame, client, **options)

    def results(self, campaign: Campaign) -> pd.DataFrame:
        """See Campaign.results."""
        return campaign.results(self._frame)
