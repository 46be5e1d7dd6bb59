"""What a decoding process does: containers, sound tracks and animated pictures, read with FFmpeg and Pillow.

Knows no numpy at the top and nothing of the other packages' records, so that the process starts quickly.
"""
