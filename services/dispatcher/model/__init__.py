"""What a dispatcher knows and says, free of any transport."""
