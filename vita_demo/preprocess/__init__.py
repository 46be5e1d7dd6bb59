"""From media files to arrays for the two encoders, with numpy and the media libraries; no torch."""
