"""What is measured. Each module takes a `Rig` and returns samples; none of them judges."""
