"""The carrier `ray`: a gateway beside the daemon, and an actor of a Ray cluster that runs `kheish worker --stdio`."""
