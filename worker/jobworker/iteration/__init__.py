"""Jobs that walk over many items, write down where they are, and go on there on another worker."""
