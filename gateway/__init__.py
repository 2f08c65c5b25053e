"""The gateway: events in.

Everything that arrives goes into the inbox before it is answered, then on to the workflow that it
concerns. `gateway.app` receives, `gateway.drain` sends on, `gateway.pollers` reads the feeds of
those that do not push; `gateway.serve` makes two processes of them, the door and the drain.
"""
