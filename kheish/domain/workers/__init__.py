"""Workers: the files of other machines that run the tools of sessions, and the choice among them."""
