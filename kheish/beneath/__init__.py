"""The one door to what lies beneath a workspace: nothing else of the daemon opens a file or a folder there.

An agent's commands change the workspace while the daemon works in it: a path that was looked at a moment ago may lead
elsewhere now. So everything is opened name by name from the workspace's own descriptor, never by a whole path, and what
is opened is asked what it is. All functions block on disk; coroutines call them through `pool.run`.
"""

from kheish.beneath.door import NOTHING, Door, Hidden

__all__ = ["NOTHING", "Door", "Hidden"]
