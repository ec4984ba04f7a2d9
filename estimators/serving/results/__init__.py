"""Result files of the tools that load a server: read, their definitions kept apart, held against physics."""
