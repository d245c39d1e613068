"""What every room stands on: errors, records, files and runs, progress, formatting."""
