"""
The account's side: alone in knowing HTTP and the service's own names.

`client` makes the calls, and is all that others need; `answers` and `reading` make sense of what
comes back, `failures` of what does not.
"""
