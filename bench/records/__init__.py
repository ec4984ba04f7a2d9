"""Records of runs: what was asked, what was decided, what was measured; typed JSON files, written whole or not at all."""
