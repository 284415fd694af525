"""The sandbox's inbox in a browser: a list to search, one message to look at, the faults to switch.

`badges`, `links` and `entry` are pure; `catalogue` has the SQL; `views` say what a page shows, `routes` serve it.
"""
