"""What the file room does, whoever asks."""
