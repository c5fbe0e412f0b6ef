"""What the stand-in talks about: node definitions, values, prompts and failures. No I/O."""
