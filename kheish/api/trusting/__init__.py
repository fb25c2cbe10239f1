"""Trust in Definitions that start something by themselves: the frame that their kinds share."""
