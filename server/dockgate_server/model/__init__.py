"""What the gateway knows about: commands and their life, devices, replies. Pure, no I/O."""
