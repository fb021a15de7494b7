"""What is measured. Each module takes contestants and a `Rig` and returns samples; none of them judges."""
