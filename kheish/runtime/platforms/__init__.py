"""Clients of chat platforms, which connectors and outputs share: Slack's Web API and Telegram's Bot API."""
