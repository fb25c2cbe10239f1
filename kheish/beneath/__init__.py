"""The only access to the contents of a workspace: no other module of the daemon opens a file or a folder there.

An agent's commands change the workspace while the daemon works in it: a path that was checked a moment ago may lead
elsewhere now. So everything is opened name by name from the workspace's own descriptor, never by a whole path, and the
opened descriptor is checked. All functions block on disk; coroutines call them through `pool.run`.
"""

from kheish.beneath.door import NOTHING, Door, Hidden

__all__ = ["NOTHING", "Door", "Hidden"]
