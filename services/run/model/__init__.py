"""What the run room speaks of: frozen values and rules, no I/O."""
