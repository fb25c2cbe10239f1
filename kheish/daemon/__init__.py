"""The daemon: wiring of the services, boot, serving, and periodic work."""
