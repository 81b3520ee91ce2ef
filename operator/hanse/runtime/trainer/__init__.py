"""The trainer: PID 1 of the client pod's main container; imports the app once and forks a fresh child per message."""
