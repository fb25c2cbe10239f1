"""Power cuts: what real work wrote and fsynced is recorded, and every state that a disk may then hold must recover."""
