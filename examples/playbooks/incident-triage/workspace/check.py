"""Succeeds if the service is healthy: each worker can get a connection."""

import json
import sys
from pathlib import Path

config = json.loads(Path("config/payments.json").read_text())
if config["pool_size"] < config["workers"]:
    sys.exit(f"{config['workers']} workers share {config['pool_size']} connections")
print("payments is healthy")
