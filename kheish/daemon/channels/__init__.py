"""The arbiter of channels, their announcements, and the messages that schedules post in them."""
