"""From files to arrays: what the two encoders see.  Knows numpy and the media libraries, and no torch."""
