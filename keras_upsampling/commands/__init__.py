"""The commands of the command line. The `add` of each module adds its command to the parser."""
