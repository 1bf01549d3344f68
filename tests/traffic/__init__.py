"""Messages of real docks, aircraft and remote controllers, and their replay."""
