"""The dispatcher: drives backends so that what the run room desires becomes what is."""
