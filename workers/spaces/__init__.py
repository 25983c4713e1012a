"""What search spaces are made of: parameters, known names, presets, changes to them. No torch."""
