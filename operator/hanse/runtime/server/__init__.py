"""The server pod's main container: launcher (PID 1), journal of runs, the aggregator's process."""
