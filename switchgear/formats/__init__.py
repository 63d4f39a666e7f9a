"""Wire formats: bytes to canonical values and back, without I/O."""
